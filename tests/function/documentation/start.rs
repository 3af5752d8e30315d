//! The situations in which pages begin.

/// What exists before the first command of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The stack, the service accounts, the Kafka cluster and the Schema Registry cluster.
    Stack,
    /// The secret, too, which was rotated a day ago. The previous key has been deleted.
    Rotated,
    /// The same, but the stack has the policy `delete`.
    Delete,
    /// The same as `Rotated`, and the secret names its admin secret.
    NamesAdmin,
    /// The secret has just been rotated. Both keys work.
    Overlap,
    /// The same, and `AWSPENDING` is still on the current version.
    Pending,
    /// The secret was rotated five days ago. The previous key could not be deleted, because the admin had no roles. It has them
    /// again.
    Overdue,
    /// A second rotation has started a day ago, and its version has no value.
    Stuck,
    /// There are two other secrets, too, for which rotation was never enabled.
    Several,
    /// The secret has a further key, for the Schema Registry cluster, and has just been rotated. All four keys work.
    SeveralKeys,
    /// A second secret with a key for the Schema Registry cluster was rotated, too. The previous keys of both have been deleted.
    SecondResource,
    /// The second rotation failed, because the admin had no roles. With the roles, Secrets Manager's retry has just succeeded.
    Failed,
    /// The secret was rotated a day ago. Then its current key was deleted in Confluent Cloud.
    KeyDeleted,
    /// The secret has been rotated once. Then its initial value was stored again, whose key the rotation has deleted.
    EarlierValue,
    /// The secret has been rotated once, and has a replica.
    Replicated,
    /// The secret does not exist. A secret of the managed type contains a key.
    Managed,
}

impl Start {
    pub(super) const ALL: [Self; 16] = [
        Self::Stack,
        Self::Rotated,
        Self::Delete,
        Self::NamesAdmin,
        Self::Overlap,
        Self::Pending,
        Self::Overdue,
        Self::Stuck,
        Self::Several,
        Self::SeveralKeys,
        Self::SecondResource,
        Self::Failed,
        Self::KeyDeleted,
        Self::EarlierValue,
        Self::Replicated,
        Self::Managed,
    ];
}
