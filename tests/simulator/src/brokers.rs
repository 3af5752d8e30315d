//! The brokers of a Kafka cluster: the Kafka protocol with SASL/PLAIN over plain TCP, as far as a client needs it to
//! authenticate and to learn the brokers' addresses.
//!
//! A frame passes through the same steps as an HTTP request: the log, faults and holds (`server`), the checks (`checks`),
//! and its effect (`operations`). Each broker has its own listener, behavior and propagation. The bootstrap listener is a
//! load balancer in front of the brokers that the metadata lists.
//!
//! <https://kafka.apache.org/protocol>

mod checks;
mod frame;
mod operations;
mod responses;
mod server;

use std::collections::BTreeMap;

pub use self::checks::FUNCTION_CLIENT_ID;
use crate::Simulator;
use crate::confluent::api_key::KeyType;
use crate::confluent::endpoints::Resource;
use crate::controls::BootstrapForm;

/// A broker of a Kafka cluster.
#[derive(Clone, Debug)]
pub struct Broker {
    /// The node ID.
    pub node_id: i32,
    /// The host and port of the broker's own listener.
    pub address: String,
    /// The host and port that the metadata lists instead, to send clients elsewhere. At `("127.0.0.1", 1)`, connections are
    /// refused.
    pub advertised: Option<(String, i32)>,
    /// Whether the metadata lists the broker. The bootstrap listener uses only listed brokers.
    pub is_listed: bool,
    /// Whether the broker accepts each new key, for the first attempts with it in turn, before it returns the actual result:
    /// `[false, true, false]` for a key that flaps. A key is new if the function created it.
    pub propagation: Vec<bool>,
    /// The behavior for all keys.
    pub behavior: BrokerBehavior,
}

/// The behavior of a broker. Operations are `ApiVersions`, `SaslHandshake`, `SaslAuthenticate` and `Metadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BrokerBehavior {
    /// Responds to every frame.
    #[default]
    Serves,
    /// Resets each connection before the first frame.
    Unreachable,
    /// Closes the connection instead of a response to this operation.
    ClosesWithoutResponse(&'static str),
    /// Sends no response to this operation.
    Stalls(&'static str),
    /// Responds to this operation with this error code. The operation does not take effect.
    RespondsWithError(&'static str, i16),
    /// Sends these bytes instead of the response to this operation, which takes effect.
    RespondsWith(&'static str, Vec<u8>),
}

/// The number of attempts with each key at each broker: by cluster, node ID and API key ID.
pub(crate) type Attempts = BTreeMap<(String, i32, String), usize>;

impl Simulator {
    /// Adds brokers to a Kafka cluster and, with the first ones, its bootstrap listener.
    ///
    /// # Panics
    /// If the Kafka cluster does not exist.
    pub fn add_brokers(&self, cluster: &str, count: usize) {
        let mut state = self.state();
        let resource = state.resources.get_mut(cluster);
        let resource = resource
            .filter(|resource| resource.key_type == KeyType::Kafka)
            .unwrap_or_else(|| panic!("there is no Kafka cluster {cluster}"));
        let last = resource.brokers.iter().map(|broker| broker.node_id).max();
        let first = last.map_or(0, |last| last + 1);
        for node_id in (first..).take(count) {
            resource.brokers.push(Broker {
                node_id,
                address: self.listen(cluster, Some(node_id)),
                advertised: None,
                is_listed: true,
                propagation: Vec::new(),
                behavior: BrokerBehavior::Serves,
            });
        }
        if resource.bootstrap.is_none() {
            resource.bootstrap = Some(self.listen(cluster, None));
        }
    }

    /// Starts the listener of a broker or, without a node ID, the bootstrap listener, and returns its address.
    fn listen(&self, cluster: &str, node_id: Option<i32>) -> String {
        let (address, task) = server::spawn(&self.running.shared, cluster, node_id);
        self.running
            .tasks
            .lock()
            .expect("no task panics while it holds the lock")
            .push(task);
        address
    }
}

impl Resource {
    /// Returns `kafka_bootstrap_endpoint`, or `None` if the cluster has no brokers.
    ///
    /// <https://docs.confluent.io/cloud/current/api.html#operation/getCmkV2Cluster>
    pub(crate) fn bootstrap_endpoint(&self, form: BootstrapForm) -> Option<String> {
        let bootstrap = self.bootstrap.as_ref()?;
        Some(match form {
            BootstrapForm::WithScheme => format!("SASL_SSL://{bootstrap}"),
            BootstrapForm::WithoutScheme => bootstrap.clone(),
            BootstrapForm::List => {
                let listed = self.brokers.iter().filter(|broker| broker.is_listed);
                let addresses = listed.map(|broker| &broker.address);
                let mut list = std::iter::once(bootstrap).chain(addresses);
                let first = list.next().cloned().unwrap_or_default();
                list.fold(first, |list, address| format!("{list},{address}"))
            }
        })
    }
}
