//! Where the function finds AWS's credentials.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A file for one test, which is gone when this is dropped.
struct Credentials(PathBuf);

impl Credentials {
    fn new(text: &str) -> Self {
        let name = format!("credentials-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[tokio::test]
async fn a_profile_signs_where_the_environment_holds_no_credentials() {
    let world = World::new(Setting::default()).await;
    let text =
        format!("[local]\naws_access_key_id = AKIALOCAL\naws_secret_access_key = {CANARY}\n");
    let credentials = Credentials::new(&text);
    let variables = [
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
        ("AWS_SESSION_TOKEN", ""),
        (
            "AWS_SHARED_CREDENTIALS_FILE",
            credentials.0.to_str().unwrap(),
        ),
        ("AWS_PROFILE", "local"),
    ];
    let lambda = Lambda::start(&world.simulator, &variables).await;

    let outcome = lambda.rotate(&world.simulator, &world.arn).await;

    assert_eq!(outcome, Outcome::Succeeded);
    lambda.assert_nothing_secret_was_printed();
}
