//! The data planes, as far as one needs them to see whether a key is accepted. Each resource has its
//! own listener, so that a credential at a wrong host is noticed.

use http::Method;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::{Call, Plane};
use crate::keys::ApiKey;
use crate::state::State;

pub(crate) fn answer(state: &mut State, call: &Call) -> Result<Answer, Answer> {
    let here = call
        .resource
        .clone()
        .expect("a data plane belongs to a resource");
    match call.plane {
        Plane::KafkaRest => kafka(state, call, &here),
        Plane::SchemaRegistry => schema_registry(state, call, &here),
        Plane::KsqlDb => ksqldb(state, call, &here),
        _ => flink(state, call, &here),
    }
}

/// <https://docs.confluent.io/cloud/current/api.html#operation/listKafkaTopics>
fn kafka(state: &mut State, call: &Call, here: &str) -> Result<Answer, Answer> {
    let segments = call.segments();
    let (&Method::GET, ["kafka", "v3", "clusters", cluster, "topics"]) =
        (&call.method, segments.as_slice())
    else {
        return Err(state.unknown_route());
    };
    if *cluster != here {
        return Err(state.refuse("another cluster's topics are asked for here"));
    }
    state.only_params(call, &[])?;
    Ok(
        match state.data_plane_status(call, |key| key.resource == here) {
            200 => Answer::json(
                200,
                &json!({ "kind": "KafkaTopicList", "metadata": { "next": null }, "data": [] }),
            ),
            // https://github.com/confluentinc/terraform-provider-confluent fixtures/apikey/read_list_topics_401.html
            401 => Answer::new(
                401,
                "text/html;charset=iso-8859-1",
                "<html>\n<head>\n<meta http-equiv=\"Content-Type\" content=\"text/html;charset=ISO-8859-1\"/>\n\
             <title>Error 401 Unauthorized</title>\n</head>\n<body><h2>HTTP ERROR 401 Unauthorized</h2>\n\
             <table>\n<tr><th>STATUS:</th><td>401</td></tr>\n</table>\n</body>\n</html>\n",
            ),
            // https://docs.confluent.io/platform/current/kafka-rest/api.html#errors
            status => numbered(
                status,
                u32::from(status) * 100 + 1,
                "Request is not authorized",
            ),
        },
    )
}

/// <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>
fn schema_registry(state: &mut State, call: &Call, here: &str) -> Result<Answer, Answer> {
    let body = match (&call.method, call.path.as_str()) {
        (&Method::GET, "/subjects") => {
            state.only_params(
                call,
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
        match state.data_plane_status(call, |key| key.resource == here) {
            200 => Answer::new(200, content_type, body.to_string()),
            401 => numbered(401, 401, "Unauthorized"),
            status => numbered(status, u32::from(status), "User is denied operation"),
        },
    )
}

/// <https://docs.confluent.io/platform/current/ksqldb/developer-guide/ksqldb-rest-api/overview.html>
fn ksqldb(state: &mut State, call: &Call, here: &str) -> Result<Answer, Answer> {
    let body = match (&call.method, call.path.as_str()) {
        (&Method::GET, "/info") => {
            json!({ "KsqlServerInfo": { "version": "v7", "ksqlServiceId": here } })
        }
        (&Method::POST, "/ksql") => {
            let accepted = ["application/vnd.ksql.v1+json", "application/json"];
            let content_type = call.header("content-type").unwrap_or_default();
            if !accepted
                .iter()
                .any(|accepted| content_type.starts_with(accepted))
            {
                return Err(state.refuse("a statement whose content type ksqlDB does not know"));
            }
            let statement = serde_json::from_slice::<Value>(&call.body).unwrap_or_default();
            if statement.get("ksql") != Some(&json!("LIST STREAMS;")) {
                return Err(state.refuse("a statement that does more than to list"));
            }
            json!([{ "@type": "streams", "statementText": "LIST STREAMS;", "streams": [], "warnings": [] }])
        }
        _ => return Err(state.unknown_route()),
    };
    state.only_params(call, &[])?;
    Ok(
        match state.data_plane_status(call, |key| key.resource == here) {
            200 => Answer::json(200, &body),
            status => {
                let code = u32::from(status) * 100 + u32::from(status == 403);
                numbered(
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
fn flink(state: &mut State, call: &Call, here: &str) -> Result<Answer, Answer> {
    let segments = call.segments();
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
    ) = (&call.method, segments.as_slice())
    else {
        return Err(state.unknown_route());
    };
    if *organization != state.organization {
        return Err(state.refuse("another organization's statements are asked for"));
    }
    state.only_params(
        call,
        &[
            "spec.compute_pool_id",
            "page_size",
            "page_token",
            "label_selector",
        ],
    )?;
    let opens =
        |key: &ApiKey| key.resource == here && key.environment.as_deref() == Some(*environment);
    Ok(match state.data_plane_status(call, opens) {
        200 => {
            let metadata = json!({ "next": "" });
            let body = json!({ "api_version": "sql/v1", "kind": "StatementList", "metadata": metadata, "data": [] });
            Answer::json(200, &body)
        }
        401 => Answer::confluent_unauthorized(),
        status => Answer::confluent_error(status, None, "", "Forbidden Access"),
    })
}

fn numbered(status: u16, error_code: u32, message: &str) -> Answer {
    Answer::json(
        status,
        &json!({ "error_code": error_code, "message": message }),
    )
}
