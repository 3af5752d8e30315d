//! Probes: the requests with which a client can verify a key.
//!
//! Each data plane has its own listener, so that a key sent to the wrong host is a violation. The control plane has the
//! probes for Cloud, Global and Tableflow keys.

use http::Method;
use serde_json::{Value, json};

use super::api_key::{ApiKey, KeyType};
use super::single_page;
use crate::http::request::{HttpRequest, Service};
use crate::http::response::Response;
use crate::state::State;

/// Responds to a request to a data plane.
pub(crate) fn respond(state: &mut State, request: &HttpRequest) -> Result<Response, Response> {
    let resource = request
        .resource
        .clone()
        .expect("a data plane has a resource");
    match request.service {
        Service::KafkaRest => kafka(state, request, &resource),
        Service::SchemaRegistry => schema_registry(state, request, &resource),
        Service::KsqlDb => ksqldb(state, request, &resource),
        _ => flink(state, request, &resource),
    }
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/listKafkaTopics>
fn kafka(state: &mut State, request: &HttpRequest, resource: &str) -> Result<Response, Response> {
    let segments = request.segments();
    let (&Method::GET, ["kafka", "v3", "clusters", cluster, "topics"]) =
        (&request.method, segments.as_slice())
    else {
        return Err(state.unknown_route());
    };
    if *cluster != resource {
        return Err(state.violation_response("a request for the topics of another cluster"));
    }
    state.check_params(request, &[])?;
    Ok(
        match state.data_plane_status(request, |key| key.resource == resource) {
            200 => Response::json(
                200,
                &json!({ "kind": "KafkaTopicList", "metadata": { "next": null }, "data": [] }),
            ),
            // https://github.com/confluentinc/terraform-provider-confluent fixtures/apikey/read_list_topics_401.html
            401 => Response::new(
                401,
                "text/html;charset=iso-8859-1",
                "<html>\n<head>\n<meta http-equiv=\"Content-Type\" content=\"text/html;charset=ISO-8859-1\"/>\n\
             <title>Error 401 Unauthorized</title>\n</head>\n<body><h2>HTTP ERROR 401 Unauthorized</h2>\n\
             <table>\n<tr><th>STATUS:</th><td>401</td></tr>\n</table>\n</body>\n</html>\n",
            ),
            // https://docs.confluent.io/platform/current/kafka-rest/api.html#errors
            status => error_code_response(
                status,
                u32::from(status) * 100 + 1,
                "Request is not authorized",
            ),
        },
    )
}

/// <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>
fn schema_registry(
    state: &mut State,
    request: &HttpRequest,
    resource: &str,
) -> Result<Response, Response> {
    let body = match (&request.method, request.path.as_str()) {
        (&Method::GET, "/subjects") => {
            state.check_params(
                request,
                &["subjectPrefix", "deleted", "deletedOnly", "offset", "limit"],
            )?;
            json!([])
        }
        (&Method::GET, "/mode") => json!({ "mode": "READWRITE" }),
        (&Method::GET, "/schemas/types") => json!(["AVRO", "JSON", "PROTOBUF"]),
        (&Method::GET, "/clusterconfig") => json!({}),
        _ => return Err(state.unknown_route()),
    };
    let content_type = "application/vnd.schemaregistry.v1+json";
    Ok(
        match state.data_plane_status(request, |key| key.resource == resource) {
            200 => Response::new(200, content_type, body.to_string()),
            401 => error_code_response(401, 401, "Unauthorized"),
            status => error_code_response(status, u32::from(status), "User is denied operation"),
        },
    )
}

/// <https://docs.confluent.io/platform/current/ksqldb/developer-guide/ksqldb-rest-api/overview.html>
fn ksqldb(state: &mut State, request: &HttpRequest, resource: &str) -> Result<Response, Response> {
    let body = match (&request.method, request.path.as_str()) {
        (&Method::GET, "/info") => {
            json!({ "KsqlServerInfo": { "version": "v7", "ksqlServiceId": resource } })
        }
        (&Method::POST, "/ksql") => {
            let accepted = ["application/vnd.ksql.v1+json", "application/json"];
            let content_type = request.header("content-type").unwrap_or_default();
            if !accepted
                .iter()
                .any(|accepted| content_type.starts_with(accepted))
            {
                return Err(state.violation_response(
                    "a statement with a content type that ksqlDB does not support",
                ));
            }
            let statement = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
            if statement.get("ksql") != Some(&json!("LIST STREAMS;")) {
                return Err(state.violation_response("a statement other than LIST STREAMS"));
            }
            json!([{ "@type": "streams", "statementText": "LIST STREAMS;", "streams": [], "warnings": [] }])
        }
        _ => return Err(state.unknown_route()),
    };
    state.check_params(request, &[])?;
    Ok(
        match state.data_plane_status(request, |key| key.resource == resource) {
            200 => Response::json(200, &body),
            status => {
                let code = u32::from(status) * 100 + u32::from(status == 403);
                error_code_response(
                    status,
                    code,
                    if status == 401 {
                        "Unauthorized"
                    } else {
                        "You are forbidden from using this cluster"
                    },
                )
            }
        },
    )
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/listSqlv1Statements>
fn flink(state: &mut State, request: &HttpRequest, resource: &str) -> Result<Response, Response> {
    let segments = request.segments();
    let (
        &Method::GET,
        [
            "sql",
            "v1",
            "organizations",
            organization,
            "environments",
            environment,
            "statements",
        ],
    ) = (&request.method, segments.as_slice())
    else {
        return Err(state.unknown_route());
    };
    if *organization != state.organization {
        return Err(
            state.violation_response("a request for the statements of another organization")
        );
    }
    state.check_params(
        request,
        &[
            "spec.compute_pool_id",
            "page_size",
            "page_token",
            "label_selector",
        ],
    )?;
    let is_in_scope =
        |key: &ApiKey| key.resource == resource && key.environment.as_deref() == Some(*environment);
    Ok(match state.data_plane_status(request, is_in_scope) {
        200 => {
            let metadata = json!({ "next": "" });
            let body = json!({ "api_version": "sql/v1", "kind": "StatementList", "metadata": metadata, "data": [] });
            Response::json(200, &body)
        }
        401 => Response::confluent_unauthorized(),
        status => Response::confluent_error(status, None, "", "Forbidden Access"),
    })
}

/// Probes a Cloud or Global API key: lists the environments that its owner may read.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/listOrgV2Environments>
pub(super) fn environments(state: &mut State, request: &HttpRequest) -> Result<Response, Response> {
    let principal = state.authenticate(request, |key_type| {
        matches!(key_type, KeyType::Cloud | KeyType::Global)
    })?;
    state.check_params(request, &["page_size", "page_token"])?;
    state.check_permission(request)?;
    let mut environments: Vec<&String> = state
        .resources
        .values()
        .flat_map(|resource| &resource.environments)
        .collect();
    environments.sort();
    environments.dedup();
    environments.retain(|environment| state.may_read_resource(&principal, "", environment));
    let data: Vec<_> = environments
        .into_iter()
        .map(|id| json!({ "id": id, "display_name": id }))
        .collect();
    Ok(single_page("org/v2", "EnvironmentList", &data))
}

/// Probes a Tableflow key, the only resource-scoped key that the control plane accepts.
///
/// <https://docs.confluent.io/cloud/current/api.html#operation/listTableflowV1Regions>
pub(super) fn tableflow_regions(
    state: &mut State,
    request: &HttpRequest,
) -> Result<Response, Response> {
    state.authenticate(request, |key_type| key_type == KeyType::Tableflow)?;
    state.check_params(request, &["cloud", "page_size", "page_token"])?;
    state.check_permission(request)?;
    Ok(single_page("tableflow/v1", "RegionList", &[]))
}

/// Returns an error with `error_code`, as the Kafka REST API, Schema Registry and ksqlDB do.
fn error_code_response(status: u16, error_code: u32, message: &str) -> Response {
    Response::json(
        status,
        &json!({ "error_code": error_code, "message": message }),
    )
}
