//! The shell blocks of a page, and the rules that all pages follow.

use super::*;

/// The comment before a block that must not run.
const NOT_RUN: &str = "<!-- not run: ";

/// A block fenced with ```` ```sh ````.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The line of the fence, from 1.
    pub(super) line: usize,
    /// The heading before the block, without `#`.
    pub(super) heading: String,
    pub(super) commands: String,
    pub(super) is_run: bool,
}

/// Returns the shell blocks of a page. The indentation of a fence in a list is not part of its block.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    let mut other_fence = false;
    let (mut last, mut heading) = ("", "");
    for (index, line) in page.lines().enumerate() {
        let content = line.trim_start();
        match &mut open {
            Some(_) if content.trim_end() == "```" => {
                blocks.extend(open.take().map(|(_, block)| block));
            }
            Some((indent, block)) => {
                let spaces = line.len() - content.len();
                let line = line.get(spaces.min(*indent)..).unwrap_or_default();
                block.commands.push_str(line);
                block.commands.push('\n');
            }
            None if !other_fence && content.trim_end() == "```sh" => {
                let block = Block {
                    line: index + 1,
                    heading: heading.to_owned(),
                    commands: String::new(),
                    is_run: !last.starts_with(NOT_RUN),
                };
                open = Some((line.len() - content.len(), block));
            }
            // A line with an info string closes no fence.
            None if content.starts_with("```") => {
                other_fence = !other_fence || content.trim_end() != "```";
            }
            None if !other_fence && line.starts_with('#') => {
                heading = line.trim_start_matches('#').trim();
            }
            None => {}
        }
        if !content.is_empty() {
            last = content;
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    blocks
}

/// Returns the name and the content of the README and of every page in `docs`.
pub(super) fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    let page = |path: std::path::PathBuf| {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        (name.to_owned(), fs::read_to_string(&path).unwrap())
    };
    paths.into_iter().map(page).collect()
}

/// Options that only GNU's tools have, and options that the two versions of the AWS CLI do not share.
const REJECTED_OPTIONS: [(&str, &str); 8] = [
    ("sed", "-i"),
    ("grep", "-P"),
    ("date", "-d"),
    ("readlink", "-f"),
    ("sed", "--in-place"),
    ("grep", "--perl-regexp"),
    ("date", "--date"),
    ("", "--cli-binary-format"),
];

/// Returns the rejected options that the commands use.
fn rejected_options(commands: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in commands.lines() {
        let words: Vec<&str> = line
            .split(|c: char| c.is_whitespace() || "|;()`".contains(c))
            .collect();
        let mut after_payload = line.split("--payload ").skip(1);
        if !after_payload.all(|payload| payload.starts_with("fileb://")) {
            found.push(format!("--payload without fileb://: {line}"));
        }
        for (command, option) in REJECTED_OPTIONS {
            let options = words
                .iter()
                .skip_while(|word| !command.is_empty() && **word != command);
            let mut options = options.filter(|word| !word.is_empty());
            if options.any(|word| is_option(word, option)) {
                found.push(format!("{command} {option}: {line}"));
            }
        }
    }
    found
}

/// Returns whether `word` is `option`, also with a value or, if it is short, with others: `-Po`, `-i.bak`.
fn is_option(word: &str, option: &str) -> bool {
    let Some(letter) = option.strip_prefix('-').filter(|letter| letter.len() == 1) else {
        return word.starts_with(option);
    };
    let letters = word
        .strip_prefix('-')
        .filter(|letters| !letters.starts_with('-'));
    letters.is_some_and(|letters| letters.contains(letter))
}

#[test]
fn the_commands_use_no_option_that_a_reader_may_not_have() {
    for (name, page) in pages() {
        for block in blocks(&page) {
            let found = rejected_options(&block.commands);
            assert!(found.is_empty(), "{name}, line {}: {found:#?}", block.line);
        }
        assert!(!page.contains("--cli-binary-format"), "{name}");
    }
}

/// The longest line of prose, in characters.
const MAX_WIDTH: usize = 140;

/// Returns the lines of paragraphs and lists that are too long. Tables, code, link targets and generated text are not wrapped.
fn long_lines(page: &str) -> Vec<&str> {
    let (mut is_code, mut is_generated) = (false, false);
    let is_long = |line: &&str| {
        let text = line.trim_start();
        is_code ^= text.starts_with("```");
        is_generated =
            (is_generated || text.ends_with(": begin -->")) && !text.ends_with(": end -->");
        let is_prose = !is_code && !is_generated && !text.starts_with(['|', '<']);
        let is_target = text.starts_with('[') && text.contains("]: ");
        is_prose && !is_target && line.chars().count() > MAX_WIDTH
    };
    page.lines().filter(is_long).collect()
}

#[test]
fn no_line_of_prose_is_too_long() {
    let security = include_str!("../../../SECURITY.md").to_owned();
    for (name, page) in pages()
        .into_iter()
        .chain([("SECURITY.md".to_owned(), security)])
    {
        let found = long_lines(&page);
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}

#[test]
fn every_shell_block_has_the_syntax_of_bash() {
    for (name, page) in pages() {
        for block in blocks(&page) {
            let checked = std::process::Command::new("bash")
                .arg("-nc")
                .arg(&block.commands)
                .output();
            let checked = checked.expect("bash is installed");
            let errors = String::from_utf8_lossy(&checked.stderr);
            assert!(
                checked.status.success(),
                "{name}, line {}: {errors}",
                block.line
            );
        }
    }
}

#[test]
fn a_rejected_option_is_found_in_each_form() {
    let rejected = "sed -i.bak s/a/b/ f\njq . f | grep -oP x\nx=$(date -u -d now)\nreadlink -f f\naws --cli-binary-format x";
    let accepted = "sed -e s/-i/b/ f\ngrep -E x\ndate -u +%s\nprintf -- -i";

    assert_eq!(
        rejected_options(rejected).len(),
        5,
        "{:?}",
        rejected_options(rejected)
    );
    assert_eq!(rejected_options(accepted), Vec::<String>::new());
}

#[test]
fn a_block_has_its_line_and_no_indentation() {
    let page = "# Title\n1. Do:\n   ```sh\n   if x; then\n     y\n   fi\n   ```\n```json\n```sh\n```\n\n<!-- not run: it asks -->\n\n```sh\nz\n```\n";
    let block = |line, commands: &str, is_run| Block {
        line,
        heading: "Title".to_owned(),
        commands: commands.to_owned(),
        is_run,
    };

    assert_eq!(
        blocks(page),
        [
            block(3, "if x; then\n  y\nfi\n", true),
            block(14, "z\n", false)
        ]
    );
}
