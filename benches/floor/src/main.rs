//! The least that a Lambda function in Rust can be: it takes an event and answers with nothing.

use std::convert::Infallible;

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let answer = service_fn(async |_: LambdaEvent<Value>| Ok::<_, Infallible>(()));
    lambda_runtime::run(answer).await
}
