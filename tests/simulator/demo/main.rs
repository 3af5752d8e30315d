//! Rotations against the simulator, as text: `cargo run --example demo -- --help`.
//!
//! The function and the HTTP requests are real. The services are simulated on loopback.

#![expect(clippy::print_stdout, reason = "the output is for the user")]
#![expect(clippy::expect_used, reason = "the example sets up its own data")]

mod console;
mod crash;
mod fleet;
#[path = "../function.rs"]
mod function;
mod options;
mod rotation;

use std::process::ExitCode;
use std::time::Duration;

use fleet::Fleet;
use options::{HELP, Options};
use rotation::Rotation;

const ENVIRONMENT: &str = "env-prod";
/// How long a new key takes to propagate. In Confluent Cloud, it takes seconds to minutes.
const PROPAGATION_DELAY: Duration = Duration::from_millis(1500);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("{problem}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let is_ok = if options.fleet {
        Fleet::new().await.run().await
    } else {
        let mut rotation = Rotation::new(&options).await;
        if options.preflight {
            rotation.preflight().await
        } else {
            rotation.run(&options).await
        }
    };
    ExitCode::from(u8::from(!is_ok))
}
