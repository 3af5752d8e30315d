//! The options of the command line.

use simulator::Overlap;

use crate::crash::{self, Crash};

pub(crate) const HELP: &str = "\
Shows a rotation of a Confluent Cloud API key. It requires no account and no network.

Usage: cargo run --example demo -- [OPTIONS]

  --key-type <TYPE>  (or --kind) cloud, kafka, schema-registry, ksqldb, flink, tableflow or global [default: kafka];
                     kafka+schema-registry: two keys in one secret
  --self             use self-rotation: authenticate with the secret's own key instead of the admin key
  --policy <POLICY>  what to do with the previous key: delete-after, delete, keep-until-next-rotation
                     [default: delete-after]
  --crash <STEP>     interrupt a step, and show how the retry recovers: createSecret, testSecret or finishSecret
  --preflight        don't rotate: report whether everything that a rotation requires is in place
  --fleet            show five secrets: their status, one rotation, and the deletion of the previous key a day later;
                     no other option is valid
  --help             print this help";

/// The policies for the previous key, and the overlap that the simulator requires under each.
const POLICIES: [(&str, Overlap); 3] = [
    ("delete-after", Overlap::Hours(24)),
    ("delete", Overlap::None),
    ("keep-until-next-rotation", Overlap::UntilNextRotation),
];

/// The key types, and the ID of the resource of each key.
const KEY_TYPES: [(&str, &[Option<&str>]); 8] = [
    ("cloud", &[None]),
    ("kafka", &[Some("lkc-orders")]),
    ("schema-registry", &[Some("lsrc-orders")]),
    ("ksqldb", &[Some("lksqlc-orders")]),
    ("flink", &[Some("aws.us-west-2")]),
    ("tableflow", &[Some("Tableflow")]),
    ("global", &[Some("Global")]),
    (
        "kafka+schema-registry",
        &[Some("lkc-orders"), Some("lsrc-orders")],
    ),
];

/// The options of the command line.
pub(crate) struct Options {
    pub(crate) key_type: &'static str,
    /// The ID of each key's resource.
    pub(crate) resources: &'static [Option<&'static str>],
    pub(crate) self_rotation: bool,
    pub(crate) policy: &'static str,
    /// The overlap of the policy.
    pub(crate) overlap: Overlap,
    pub(crate) crash: Option<&'static Crash>,
    pub(crate) preflight: bool,
    pub(crate) fleet: bool,
}

impl Options {
    /// Parses the command line. Returns `None` if it contains `--help`.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let arguments: Vec<String> = arguments.collect();
        let (mut key_type, mut policy, mut crash) = ("kafka", "delete-after", None);
        let (mut self_rotation, mut preflight, mut fleet) = (false, false, false);
        let mut rest = arguments.iter().map(String::as_str);
        while let Some(argument) = rest.next() {
            match argument {
                "--help" => return Ok(None),
                "--self" => self_rotation = true,
                "--preflight" => preflight = true,
                "--fleet" => fleet = true,
                "--key-type" | "--kind" => key_type = rest.next().unwrap_or_default(),
                "--policy" => policy = rest.next().unwrap_or_default(),
                "--crash" => crash = Some(rest.next().unwrap_or_default()),
                other => return Err(format!("{other} is not an option")),
            }
        }
        if fleet && arguments.len() > 1 {
            return Err("--fleet cannot be combined with another option".to_owned());
        }
        if preflight && crash.is_some() {
            return Err("--preflight cannot be combined with --crash".to_owned());
        }
        let (key_type, resources) = find("--key-type", key_type, &KEY_TYPES, |(name, _)| name)?;
        let (policy, overlap) = find("--policy", policy, &POLICIES, |(name, _)| name)?;
        let crash = crash.map(|step| find("--crash", step, &crash::CRASHES, |crash| crash.step));
        Ok(Some(Self {
            key_type,
            resources,
            self_rotation,
            policy,
            overlap: *overlap,
            crash: crash.transpose()?,
            preflight,
            fleet,
        }))
    }
}

/// Returns the value of an option from a table.
fn find<T>(
    option: &str,
    value: &str,
    table: &'static [T],
    name: fn(&'static T) -> &'static str,
) -> Result<&'static T, String> {
    let found = table.iter().find(|row| name(row) == value);
    found.ok_or_else(|| {
        let names: Vec<&str> = table.iter().map(name).collect();
        format!("{option} must be one of: {}", names.join(", "))
    })
}
