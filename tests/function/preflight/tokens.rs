//! Cases of the checks of the tokens in keyless mode.

use confluent_key_rotation::preflight::TOKEN_CHECKS;
use simulator::{Federation, ROLE_ARN, TOKEN_ISSUER};

use super::*;

const KEYLESS: Setting = Setting {
    mode: Mode::Keyless,
    ..KAFKA_WITH_ADMIN_SECRET
};

fn is_exchange(request: &Request) -> bool {
    requests(request, "/sts/v1/oauth2/token")
}

fn filter() -> String {
    format!(r#"claims.sub=="{ROLE_ARN}" && claims.aud=="https://confluent.cloud/oidc""#)
}

/// Asserts that the report stops at the check with this name, and returns what it observed.
fn stopped_at(report: &Report, name: &str, outcome: Checked) -> String {
    let all: Vec<&str> = TOKEN_CHECKS.into_iter().chain(CHECKS).collect();
    assert_eq!(names(report), all, "{report:#?}");
    let check = report.checks.last().unwrap();
    assert_eq!(
        (check.name, check.finding.outcome),
        (name, outcome),
        "{report:#?}"
    );
    assert_eq!(report.verdict, outcome, "{report:#?}");
    assert!(check.finding.remedy.is_some(), "{report:#?}");
    check.finding.observed.clone()
}

#[tokio::test]
async fn a_report_in_keyless_mode_begins_with_the_tokens() {
    let world = World::new(KEYLESS).await;

    let report = world.preflight().await;

    let all: Vec<&str> = TOKEN_CHECKS.into_iter().chain(CHECKS).collect();
    assert_eq!(names(&report), all);
    assert_eq!(report.verdict, Fine, "{report:#?}");
    let [token, exchange] = [0, 1].map(|nth| &report.checks[nth].finding.observed);
    for part in [TOKEN_ISSUER, ROLE_ARN, "https://confluent.cloud/oidc"] {
        assert!(token.contains(part), "{token}");
    }
    let pool = world.identity_pool();
    for part in [&*pool, "900 s", &filter()] {
        assert!(exchange.contains(part), "{exchange}");
    }
    let mut credentials = report.checks.iter();
    let credentials = credentials.find(|check| check.name == "management-credentials");
    let observed = &credentials.unwrap().finding.observed;
    assert!(observed.contains(&pool), "{observed}");
}

/// This is how an operator learns what the filter of the pool must be.
#[tokio::test]
async fn before_the_pool_exists_the_report_contains_the_filter_to_paste() {
    let arrangements: [Arrange; 3] = [
        |world| world.simulator.state().identity_pools.clear(),
        |world| world.simulator.state().controls.pool_filter_mismatch = true,
        |world| {
            respond(
                world,
                is_exchange,
                Response::confluent_error(400, None, "no", "no"),
            );
        },
    ];
    for arrange in arrangements {
        let world = World::new(KEYLESS).await;
        arrange(&world);

        let report = world.preflight().await;

        let observed = stopped_at(&report, "token-exchange", Failed);
        let jwks = format!("{TOKEN_ISSUER}/.well-known/jwks.json");
        for part in [filter(), jwks, TOKEN_ISSUER.to_owned()] {
            assert!(observed.contains(&part), "{observed}");
        }
        assert_eq!(report.checks[0].finding.outcome, Fine);
        assert_eq!(world.count(is_exchange), 1);
    }
}

#[tokio::test]
async fn a_report_without_a_web_identity_token_says_why() {
    let arrangements: [(Arrange, &str, Checked); 3] = [
        (
            |world| world.simulator.state().controls.federation = Federation::Disabled,
            "turned off",
            Failed,
        ),
        (
            |world| world.simulator.state().controls.denies_web_identity_tokens = true,
            "sts:GetWebIdentityToken",
            Failed,
        ),
        (
            |world| {
                let failure = Response::aws_sts_error(500, "InternalFailure", "no");
                respond(world, |request| request.service == Service::Sts, failure);
            },
            "InternalFailure",
            Unknown,
        ),
    ];
    for (arrange, expected, outcome) in arrangements {
        let world = World::new(KEYLESS).await;
        arrange(&world);

        let report = world.preflight().await;

        let observed = stopped_at(&report, "web-identity-token", outcome);
        assert!(observed.contains(expected), "{observed}");
    }
}

#[tokio::test]
async fn a_failed_exchange_is_unknown_if_confluent_cloud_failed() {
    for status in [408, 429, 500, 503] {
        let mut world = World::new(KEYLESS).await;
        world.time_limit = Duration::from_secs(4);
        respond(&world, is_exchange, Response::empty(status));

        let report = world.preflight().await;

        stopped_at(&report, "token-exchange", Unknown);
    }
}

/// A filter for another subject may accept more than this function.
#[tokio::test]
async fn a_subject_that_is_not_a_role_is_a_warning() {
    let world = World::new(KEYLESS).await;
    // {"iss":"https://issuer","sub":"arn:aws:iam::123456789012:user/someone","aud":"a"}
    let payload = "eyJpc3MiOiJodHRwczovL2lzc3VlciIsInN1YiI6ImFybjphd3M6aWFtOjoxMjM0NTY3ODkwMTI6dXNlci9zb21lb25lIiwiYXVkIjoiYSJ9";
    let xml = format!(
        "<GetWebIdentityTokenResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetWebIdentityTokenResult>\
         <WebIdentityToken>e30.{payload}.c2ln</WebIdentityToken><Expiration>2030-01-01T00:00:00Z</Expiration>\
         </GetWebIdentityTokenResult></GetWebIdentityTokenResponse>"
    );
    respond(
        &world,
        |request| request.service == Service::Sts,
        Response::new(200, "text/xml", xml),
    );

    let report = world.preflight().await;

    let finding = &report.checks[0].finding;
    assert_eq!(finding.outcome, Warning, "{report:#?}");
    assert!(finding.observed.contains("user/someone"), "{report:#?}");
}

/// The checks of a secret follow those of the tokens.
#[tokio::test]
async fn an_admin_secret_fails_the_check_of_the_management_credentials() {
    let world = World::new(KEYLESS).await;
    world.change_value(|value| value["adminSecretArn"] = json!(world.arn));

    let report = world.preflight().await;

    let observed = stopped_at(&report, "management-credentials", Failed);
    assert!(observed.contains("IDENTITY_POOL_ID"), "{observed}");
}

#[tokio::test]
async fn a_report_without_an_identity_pool_does_not_mention_tokens() {
    let world = World::new(KAFKA_WITH_ADMIN_SECRET).await;
    world.simulator.state().resources.clear();

    let report = world.preflight().await;

    let report = json!(report).to_string();
    assert!(!report.contains("token"), "{report}");
    assert_eq!(world.count(|request| request.service == Service::Sts), 0);
}
