//! The rate limit of the control plane.

use std::time::Duration;

use serde_json::Value;
use simulator::RateLimit;

use crate::{OWNER, World, confluent};

/// <https://docs.confluent.io/cloud/current/api.html#section/Rate-Limiting>
#[tokio::test]
async fn a_rate_limit_response_specifies_when_to_retry() {
    let world = World::new().await;
    let url = world.simulator.confluent_url();
    let limit = RateLimit {
        requests: 2,
        window: Duration::from_hours(1),
        concurrent_requests: 2,
    };
    world.simulator.state().controls.rate_limit = Some(limit);
    let list = format!("GET /iam/v2/api-keys?spec.owner={OWNER}");
    let header = |head: &str, name: &str| -> u64 {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap()
            .trim_start_matches(':')
            .trim()
            .parse()
            .unwrap()
    };

    let mut remaining = Vec::new();
    for _ in 0..2 {
        let (status, head, _) = confluent(&url, &list, &world.admin, "").await.unwrap();
        assert_eq!(status, 200);
        assert_eq!(header(&head, "x-ratelimit-limit"), 2);
        remaining.push(header(&head, "x-ratelimit-remaining"));
    }
    let create = confluent(&url, "POST /iam/v2/api-keys", &world.admin, "{}").await;
    let (status, head, body) = create.unwrap();

    assert_eq!(remaining, [1, 0]);
    assert_eq!((status, body.as_str()), (429, ""));
    assert_eq!(header(&head, "x-ratelimit-remaining"), 0);
    // Both are in seconds from now.
    for name in ["retry-after", "x-ratelimit-reset"] {
        assert!((1..=3600).contains(&header(&head, name)), "{head}");
    }
    // The rate limit does not apply to data planes.
    assert_eq!(world.probe(&world.key).await.0, 200);
}

#[tokio::test]
async fn a_new_window_accepts_requests_again() {
    let world = World::new().await;
    let list = format!("GET /iam/v2/api-keys?spec.owner={OWNER}");
    let limit = |requests, window| RateLimit {
        requests,
        window,
        concurrent_requests: 1,
    };
    world.simulator.state().controls.rate_limit = Some(limit(1, Duration::from_millis(1)));
    world.control_plane(&list, &Value::Null).await;
    tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>())
        .await
        .unwrap_err();

    let (status, _) = world.control_plane(&list, &Value::Null).await;

    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_concurrent_request_is_rate_limited_until_a_response_is_sent() {
    let world = World::new().await;
    let limit = RateLimit {
        requests: 100,
        window: Duration::from_hours(1),
        concurrent_requests: 1,
    };
    world.simulator.state().controls.rate_limit = Some(limit);
    let list = format!("GET /iam/v2/api-keys?spec.owner={OWNER}");
    let hold = world.simulator.hold_responses(|_| true);

    let second = async {
        hold.arrived(1).await;
        let status = world.control_plane(&list, &Value::Null).await.0;
        hold.release();
        status
    };
    let ((first, _), second) = tokio::join!(world.control_plane(&list, &Value::Null), second);
    let (third, _) = world.control_plane(&list, &Value::Null).await;

    assert_eq!((first, second, third), (200, 429, 200));
}
