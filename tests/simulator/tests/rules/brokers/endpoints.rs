//! The bootstrap endpoint, as the control plane returns it.

use serde_json::{Value, json};
use simulator::{BootstrapForm, Endpoints};

use crate::{CLUSTER, ENVIRONMENT, World};

const ELSEWHERE: &str = "SASL_SSL://127.0.0.1:1";

impl World {
    async fn cluster_spec(&self) -> Value {
        let request = format!("GET /cmk/v2/clusters/{CLUSTER}?environment={ENVIRONMENT}");
        let (status, body) = self.control_plane(&request, &Value::Null).await;
        assert_eq!(status, 200);
        body["spec"].clone()
    }
}

#[tokio::test]
async fn the_bootstrap_endpoint_is_in_the_access_point_of_the_http_endpoint() {
    let world = World::with_brokers(1).await;
    let expected = json!(format!("SASL_SSL://{}", world.bootstrap()));
    let private = ["ap1pni123", "ap1platt67890"];
    let both = Endpoints::PrivateAndPublic {
        connection_type: "PRIVATE_LINK".to_owned(),
        private_url: world.simulator.unreachable_url(),
    };
    for (endpoints, access_point, is_deprecated_used) in [
        (Endpoints::Public, Some("PUBLIC"), true),
        (Endpoints::Deprecated, None, true),
        (
            Endpoints::Private("PNI".to_owned()),
            Some(private[0]),
            false,
        ),
        (both.clone(), Some("public"), false),
    ] {
        let case = format!("{endpoints:?}");
        world.change_cluster(|cluster| cluster.endpoints = endpoints);
        let spec = world.cluster_spec().await;
        if let Some(name) = access_point {
            let found = &spec["endpoints"][name]["kafka_bootstrap_endpoint"];
            assert_eq!(found, &expected, "{case}");
        }
        let deprecated = spec.get("kafka_bootstrap_endpoint");
        let expected = is_deprecated_used.then_some(&expected);
        assert_eq!(deprecated, expected, "{case}");
    }
    let spec = world.cluster_spec().await;
    let of_private = &spec["endpoints"][private[1]]["kafka_bootstrap_endpoint"];
    assert_eq!(of_private, ELSEWHERE);
}

#[tokio::test]
async fn the_bootstrap_endpoint_has_the_form_that_the_controls_specify() {
    let world = World::with_brokers(3).await;
    world.change_broker(1, |broker| broker.is_listed = false);
    let bootstrap = world.bootstrap();
    let (first, last) = (world.broker_address(0), world.broker_address(2));
    for (form, expected) in [
        (BootstrapForm::WithScheme, format!("SASL_SSL://{bootstrap}")),
        (BootstrapForm::WithoutScheme, bootstrap.clone()),
        (BootstrapForm::List, format!("{bootstrap},{first},{last}")),
    ] {
        world.simulator.state().controls.bootstrap_form = form;
        let spec = world.cluster_spec().await;
        assert_eq!(spec["kafka_bootstrap_endpoint"], expected, "{form:?}");
    }
}

#[tokio::test]
async fn without_brokers_the_bootstrap_endpoint_is_elsewhere() {
    let world = World::new().await;
    let spec = world.cluster_spec().await;
    let endpoint = &spec["endpoints"]["PUBLIC"]["kafka_bootstrap_endpoint"];
    assert_eq!(endpoint, ELSEWHERE);
    assert_eq!(spec.get("kafka_bootstrap_endpoint"), None);
}
