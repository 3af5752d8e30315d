//! A minimal Lambda function in Rust: it accepts any event and returns nothing.

use std::convert::Infallible;

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let handler = service_fn(async |_: LambdaEvent<Value>| Ok::<_, Infallible>(()));
    lambda_runtime::run(handler).await
}
