//! The commands that the test does not run. A stand-in returns what the reader would see and, if the following commands depend
//! on it, changes the simulator's state.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use simulator::{Federation, TOKEN_ISSUER};
use tokio::runtime::Handle;

use super::confluent_cli::*;
use super::deployment::{ACCOUNT, Deployment, STACK, function_arn};
use super::states::{Check, Checks};
use super::template::{FUNCTION, SCHEDULE};
use super::*;

/// The programs that have stand-ins, in addition to operations of the AWS CLI.
pub(super) const COMMANDS: [&str; 12] = [
    "cargo",
    "confluent",
    "docker",
    "gh",
    "git",
    "kubectl",
    "npm",
    "pip",
    "sam",
    "sleep",
    "terraform",
    "unzip",
];

/// A stand-in: the output, or an error message.
type StandIn = fn(&Deployment, &Call) -> Result<String, String>;

/// The commands that are not run, by their first words. The longest that matches applies.
const STAND_INS: [(&str, StandIn); 57] = [
    ("aws cloudformation delete-stack", delete_stack),
    ("aws cloudformation deploy", deploy),
    (
        "aws cloudformation describe-stack-resource",
        describe_stack_resource,
    ),
    ("aws cloudformation list-stacks", list_stacks),
    ("aws cloudformation wait", wait_for_stack),
    ("aws cloudtrail", nothing),
    ("aws cloudwatch", nothing),
    ("aws configservice", nothing),
    ("aws ecs", nothing),
    ("aws events describe-rule", describe_rule),
    ("aws iam", nothing),
    (
        "aws iam disable-outbound-web-identity-federation",
        disable_federation,
    ),
    (
        "aws iam enable-outbound-web-identity-federation",
        enable_federation,
    ),
    (
        "aws iam get-outbound-web-identity-federation-info",
        get_federation,
    ),
    ("aws kms", nothing),
    ("aws lambda get-function", nothing),
    (
        "aws lambda get-function-configuration",
        get_function_configuration,
    ),
    ("aws lambda update-function-code", nothing),
    ("aws lambda update-function-configuration", nothing),
    ("aws lambda wait", nothing),
    ("aws logs delete-log-group", nothing),
    ("aws logs describe-log-groups", nothing),
    ("aws organizations", nothing),
    ("aws sns", nothing),
    ("aws sts get-caller-identity", get_caller_identity),
    ("cargo", nothing),
    ("confluent api-key create", create_api_key),
    ("confluent api-key delete", delete_api_key),
    ("confluent api-key describe", describe_api_key),
    ("confluent api-key list", list_api_keys),
    ("confluent environment", nothing),
    ("confluent iam pool create", create_identity_pool),
    ("confluent iam pool delete", delete_identity_pool),
    ("confluent iam provider create", create_identity_provider),
    ("confluent iam provider delete", delete_identity_provider),
    ("confluent iam rbac role-binding create", bind_role),
    ("confluent iam rbac role-binding delete", unbind_role),
    ("confluent iam rbac role-binding list", nothing),
    (
        "confluent iam service-account create",
        create_service_account,
    ),
    (
        "confluent iam service-account delete",
        delete_service_account,
    ),
    ("confluent iam service-account list", nothing),
    ("confluent kafka", nothing),
    ("confluent login", nothing),
    ("confluent schema-registry", nothing),
    ("docker", nothing),
    ("gh", nothing),
    ("git", nothing),
    ("git clone", clone),
    ("kubectl", nothing),
    ("npm", nothing),
    ("pip", nothing),
    ("sam build", nothing),
    ("sam delete", delete_stack),
    ("sam deploy", deploy),
    ("sleep", sleep),
    ("terraform", nothing),
    ("unzip", nothing),
];

/// A call of a command.
pub(super) struct Call {
    folder: PathBuf,
    pub(super) words: Vec<String>,
}

impl Call {
    /// Returns the value of an option, as `--option value` or `--option=value`.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        let mut words = self.words.iter();
        while let Some(word) = words.next() {
            match word.strip_prefix(name) {
                Some("") => return words.next().map(String::as_str),
                Some(rest) if rest.starts_with('=') => return rest.get(1..),
                _ => {}
            }
        }
        None
    }
}

/// Responds to the stand-ins of one page on its own thread.
pub(super) struct StandIns {
    port: u16,
    is_stopped: Arc<AtomicBool>,
    rejected: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for StandIns {
    fn drop(&mut self) {
        self.join();
    }
}

impl StandIns {
    /// Starts the thread. It also makes the checks, each at the first block after its heading.
    pub(super) fn start(deployment: &Arc<Deployment>, checks: Checks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_stopped, rejected) = (Arc::default(), Arc::default());
        // A client for HTTP can only be created inside a runtime.
        let (runtime, deployment) = (Handle::current(), Arc::clone(deployment));
        let thread = std::thread::spawn({
            let (is_stopped, rejected) = (Arc::clone(&is_stopped), Arc::clone(&rejected));
            move || {
                let _runtime = runtime.enter();
                let mut checks = checks.to_vec();
                for stream in listener.incoming() {
                    if AtomicBool::load(&is_stopped, Ordering::Relaxed) {
                        break;
                    }
                    respond(&deployment, &stream.unwrap(), &rejected, &mut checks);
                }
                let missing = checks
                    .into_iter()
                    .filter(|(heading, _)| !heading.is_empty());
                let missing = missing.map(|(heading, _)| format!("no block after {heading}"));
                rejected.lock().unwrap().extend(missing);
            }
        });
        Self {
            port,
            is_stopped,
            rejected,
            thread: Some(thread),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the calls that have no stand-in or failed, even if the page's commands ignored the failure.
    pub(super) fn stop(mut self) -> Vec<String> {
        self.join();
        self.rejected.lock().unwrap().clone()
    }

    fn join(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        // The connection wakes the thread.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn respond(
    deployment: &Deployment,
    mut stream: &TcpStream,
    rejected: &Mutex<Vec<String>>,
    checks: &mut Vec<(&str, Check)>,
) {
    let mut words = BufReader::new(stream)
        .split(0)
        .map(|word| String::from_utf8(word.unwrap()).unwrap());
    let count: usize = words.next().unwrap().parse().unwrap();
    let folder = words.next().unwrap().into();
    let words: Vec<String> = words.take(count).collect();
    let line = words.join(" ");
    if let Some(hours) = line.strip_prefix("pass ") {
        deployment.pass(hours.parse().unwrap());
        let _ = writeln!(stream, "0");
        return;
    }
    if let Some(heading) = line.strip_prefix("checkpoint ") {
        let response = check(deployment, heading, checks);
        deployment.begin_block();
        rejected.lock().unwrap().extend(response.err());
        let _ = writeln!(stream, "0");
        return;
    }
    let is_prefix = |name: &str| line == name || line.starts_with(&format!("{name} "));
    let stand_in = STAND_INS.iter().filter(|(name, _)| is_prefix(name));
    let response = match stand_in.max_by_key(|(name, _)| name.len()) {
        Some((_, stand_in)) => {
            let call = Call { folder, words };
            check_names(&call).and_then(|()| stand_in(deployment, &call))
        }
        None => Err("the test neither runs this command nor has a stand-in for it".to_owned()),
    };
    let written = match response {
        Ok(output) => write!(stream, "0\n{output}"),
        Err(message) => {
            rejected.lock().unwrap().push(format!("{line}: {message}"));
            write!(stream, "127\n{line}: {message}\n")
        }
    };
    // The command may have ended without reading its output.
    let _ = written;
}

/// Makes the checks for the block after `heading`, which are made once.
fn check(
    deployment: &Deployment,
    heading: &str,
    checks: &mut Vec<(&str, Check)>,
) -> Result<(), String> {
    let due = checks.extract_if(.., |(known, _)| *known == heading);
    for (_, check) in due.collect::<Vec<_>>() {
        deployment.wait_for_jobs();
        let check = std::panic::AssertUnwindSafe(|| check(deployment));
        let checked = std::panic::catch_unwind(check);
        checked.map_err(|_| format!("the state at {heading} is wrong, see above"))?;
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "a stand-in")]
fn nothing(_: &Deployment, _: &Call) -> Result<String, String> {
    Ok(String::new())
}

/// The logical ID of the hourly rule.
const RETIRE_RULE: &str = "RetireRule";

/// Stacks that pages create in addition to the function's. The simulator has none of them.
const OTHER_STACKS: [&str; 2] = [
    "confluent-key-rotation-recovery",
    "confluent-orders-rotation",
];

/// Checks the names of the stack, the function and the log group.
fn check_names(call: &Call) -> Result<(), String> {
    let (function, log_group) = (function_arn(), format!("/aws/lambda/{STACK}"));
    let [recovery, schedule] = OTHER_STACKS;
    for (option, known) in [
        ("--stack-name", &[STACK, recovery, schedule][..]),
        ("--function-name", &[STACK, &function]),
        ("--log-group-name", &[&log_group]),
        ("--log-group-name-prefix", &[&log_group]),
    ] {
        if let Some(name) = call.option(option).filter(|name| !known.contains(name)) {
            return Err(format!("{option} {name} does not exist"));
        }
    }
    Ok(())
}

/// Waits only until the function has done what the reader waits for.
fn sleep(deployment: &Deployment, _: &Call) -> Result<String, String> {
    let is_useful = deployment.wait_for_jobs();
    let output = is_useful.then(String::new);
    output.ok_or_else(|| "the block waits for something that does not happen".to_owned())
}

/// <https://docs.aws.amazon.com/cli/latest/reference/cloudformation/list-stacks.html>
fn list_stacks(deployment: &Deployment, call: &Call) -> Result<String, String> {
    let query = format!(
        "StackSummaries[?StackName==`{STACK}` && StackStatus!=`DELETE_COMPLETE`].StackName"
    );
    if call.option("--query") != Some(&query) {
        return Err(format!(
            "the stand-in has an output only for --query {query}"
        ));
    }
    let is_deployed = deployment.simulator.has_stack();
    let output = is_deployed.then(|| format!("{STACK}\n"));
    Ok(output.unwrap_or_default())
}

/// <https://docs.aws.amazon.com/cli/latest/reference/cloudformation/wait/>
fn wait_for_stack(deployment: &Deployment, call: &Call) -> Result<String, String> {
    let is_deletion = call
        .words
        .iter()
        .any(|word| word == "stack-delete-complete");
    if is_deletion == deployment.simulator.has_stack() {
        return Err("the stack never reaches this state".to_owned());
    }
    Ok(String::new())
}

/// <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-cli-command-reference-sam-deploy.html>
fn deploy(deployment: &Deployment, call: &Call) -> Result<String, String> {
    let configuration = fs::read_to_string(call.folder.join("samconfig.toml"));
    let configuration = configuration.unwrap_or_default();
    let mut parameters = configured_parameters(&configuration);
    let is_option = |word: &&String| *word == "--parameter-overrides";
    let mut words = call.words.iter().skip_while(|word| !is_option(word));
    words.next();
    let overrides = words.take_while(|word| !word.starts_with("--"));
    // One argument may contain several.
    let is_sam = call.words.first().is_some_and(|word| word == "sam");
    for parameter in overrides.flat_map(|word| word.split_whitespace()) {
        let parameter = parameter.split_once('=');
        let (name, value) = parameter.ok_or("--parameter-overrides requires NAME=VALUE")?;
        if is_sam && value.is_empty() {
            return Err(format!("SAM requires {name}=\"\" for an empty value"));
        }
        parameters.push((name, value.trim_matches('"')));
    }
    let is_other = |name| name != STACK;
    if call.option("--stack-name").is_some_and(is_other) {
        // It has another function, or none.
        let file = call.option("--template-file").unwrap_or_default();
        let is_schedule = file.ends_with("rotation-schedule.yaml");
        let template = if is_schedule { SCHEDULE } else { FUNCTION };
        let given = parameters.into_iter();
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        template.check(&given.collect())?;
        return Ok(String::new());
    }
    deployment.deploy(&parameters).map(|()| String::new())
}

/// Returns the `parameter_overrides` of `samconfig.toml`, a string or an array of strings.
fn configured_parameters(configuration: &str) -> Vec<(&str, &str)> {
    let Some((_, value)) = configuration.split_once("parameter_overrides") else {
        return Vec::new();
    };
    let value = value.trim_start_matches([' ', '=']);
    let end = if value.starts_with('[') { ']' } else { '\n' };
    let value = value.split(end).next().unwrap_or_default();
    let words = value.split(|c: char| c.is_whitespace() || "[]\",".contains(c));
    words.filter_map(|word| word.split_once('=')).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "a stand-in")]
fn delete_stack(deployment: &Deployment, call: &Call) -> Result<String, String> {
    if call.option("--stack-name").is_none_or(|name| name == STACK) {
        deployment.simulator.delete_stack();
    }
    Ok(String::new())
}

/// Creates the folder, with the files that commands name.
fn clone(_: &Deployment, call: &Call) -> Result<String, String> {
    let source = call.words.last().map(String::as_str).unwrap_or_default();
    let name = source
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .trim_end_matches(".git");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = call.folder.join(name);
    let copy = |from: &Path, to: &Path| fs::copy(from, to).map_err(|error| error.to_string());
    fs::create_dir_all(folder.join("templates")).map_err(|error| error.to_string())?;
    copy(&root.join("template.yaml"), &folder.join("template.yaml"))?;
    for entry in fs::read_dir(root.join("templates"))
        .into_iter()
        .flatten()
        .flatten()
    {
        copy(
            &entry.path(),
            &folder.join("templates").join(entry.file_name()),
        )?;
    }
    if root.join("samconfig.toml").exists() {
        copy(&root.join("samconfig.toml"), &folder.join("samconfig.toml"))?;
    }
    Ok(String::new())
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_EnableOutboundWebIdentityFederation.html>
fn enable_federation(deployment: &Deployment, _: &Call) -> Result<String, String> {
    let federation = &mut deployment.simulator.state().controls.federation;
    if *federation == Federation::Enabled {
        return Err("FeatureEnabled".to_owned());
    }
    *federation = Federation::Enabled;
    Ok(json!({"IssuerIdentifier": TOKEN_ISSUER}).to_string())
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_DisableOutboundWebIdentityFederation.html>
fn disable_federation(deployment: &Deployment, _: &Call) -> Result<String, String> {
    let federation = &mut deployment.simulator.state().controls.federation;
    if *federation == Federation::Disabled {
        return Err("FeatureDisabled".to_owned());
    }
    *federation = Federation::Disabled;
    Ok(String::new())
}

/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetOutboundWebIdentityFederationInfo.html>
fn get_federation(deployment: &Deployment, call: &Call) -> Result<String, String> {
    if deployment.simulator.state().controls.federation == Federation::Disabled {
        return Err("FeatureDisabled".to_owned());
    }
    match call.option("--query") {
        Some("IssuerIdentifier") => Ok(format!("{TOKEN_ISSUER}\n")),
        query => Err(format!("the stand-in has no output for --query {query:?}")),
    }
}

fn get_caller_identity(_: &Deployment, call: &Call) -> Result<String, String> {
    let arn = format!("arn:aws:iam::{ACCOUNT}:user/operator");
    match call.option("--query") {
        None => Ok(json!({"UserId": "AIDAEXAMPLE", "Account": ACCOUNT, "Arn": arn}).to_string()),
        Some("Account") => Ok(format!("{ACCOUNT}\n")),
        Some("Arn") => Ok(format!("{arn}\n")),
        Some(query) => Err(format!("the stand-in has no output for --query {query}")),
    }
}

/// Returns the physical ID of a resource of the stack.
///
/// <https://docs.aws.amazon.com/cli/latest/reference/cloudformation/describe-stack-resource.html>
fn describe_stack_resource(deployment: &Deployment, call: &Call) -> Result<String, String> {
    const QUERY: &str = "StackResourceDetail.PhysicalResourceId";
    let id = call.option("--logical-resource-id").unwrap_or_default();
    let is_created = id != RETIRE_RULE || deployment.parameter("RetireSchedule") == "yes";
    if !is_created || !FUNCTION.names("Resources").any(|name| name == id) {
        return Err(format!("the stack has no resource {id}"));
    }
    if call.option("--query") != Some(QUERY) {
        return Err(format!(
            "the stand-in has an output only for --query {QUERY}"
        ));
    }
    Ok(format!("{STACK}-{id}-ABCDEFGHIJKL\n"))
}

/// Returns the state of the hourly rule.
///
/// <https://docs.aws.amazon.com/cli/latest/reference/events/describe-rule.html>
fn describe_rule(_: &Deployment, call: &Call) -> Result<String, String> {
    let name = call.option("--name").unwrap_or_default();
    if name != format!("{STACK}-{RETIRE_RULE}-ABCDEFGHIJKL") {
        return Err(format!("the rule {name} does not exist"));
    }
    match call.option("--query") {
        Some("State") => Ok("ENABLED\n".to_owned()),
        query => Err(format!("the stand-in has no output for --query {query:?}")),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a stand-in")]
fn get_function_configuration(_: &Deployment, _: &Call) -> Result<String, String> {
    Ok(json!({"FunctionArn": function_arn(), "State": "Active"}).to_string())
}
