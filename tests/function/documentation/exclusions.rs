//! The blocks of the tutorial and of the runbooks that the tests do not run, and why. The tests check their syntax.

use super::markdown::{Block, blocks, pages};

/// A page, how the commands of one of its blocks begin, and the reason.
const EXCLUDED: [(&str, &str, &str); 10] = [
    (
        "docs/tutorial.md",
        "python3 -m venv .venv",
        "it downloads the build tools",
    ),
    (
        "docs/tutorial-keyless.md",
        "python3 -m venv .venv",
        "it downloads the build tools",
    ),
    (
        "docs/runbooks/deleted-key.md",
        "ADMIN_SECRET_ARN=",
        "the simulator has only one function",
    ),
    (
        "docs/runbooks/deleted-key.md",
        "FUNCTION_ARN=$(arn_of",
        "the simulator has only one function",
    ),
    (
        "docs/runbooks/deleted-key.md",
        "LABELS=",
        "another situation than that of the page: `commands::earlier_value` runs it",
    ),
    (
        "docs/runbooks/overlap.md",
        "aws secretsmanager untag-resource",
        "the next steps check the tags",
    ),
    (
        "docs/runbooks/overlap.md",
        "ADMIN_SECRET_ARN=",
        "the simulator has only one function",
    ),
    (
        "docs/runbooks/managed-type.md",
        "aws secretsmanager get-secret-value --secret-id \"$SECRET\"",
        "the simulator has no managed type",
    ),
    (
        "docs/runbooks/upgrade.md",
        "sha256sum --check",
        "nothing has been released yet",
    ),
    (
        "docs/runbooks/upgrade.md",
        "curl ",
        "nothing has been released yet",
    ),
];

/// Returns whether the table contains a block of `page`.
pub(super) fn contains(page: &str, block: &Block) -> bool {
    let mut rows = EXCLUDED.iter();
    rows.any(|(name, start, _)| *name == page && block.commands.starts_with(start))
}

#[test]
fn each_row_excludes_one_block() {
    for (name, start, reason) in EXCLUDED {
        let pages = pages();
        let (_, page) = pages.iter().find(|(page, _)| page == name).expect(name);
        let blocks = blocks(page);
        let excluded = blocks
            .iter()
            .filter(|block| block.commands.starts_with(start));
        assert_eq!(excluded.count(), 1, "{name}, {start}: {reason}");
    }
}
