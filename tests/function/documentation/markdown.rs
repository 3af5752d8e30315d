//! The shell blocks of a page, and the rules that all pages follow.

use super::shell::TOOLS;
use super::*;

/// The comment before a block that runs after a number of hours, in which the function receives the events of its hourly rule.
const TIME_PASSES: (&str, &str) = ("<!-- time passes: ", " hours -->");

/// A block fenced with ```` ```sh ````.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The line of the fence, from 1.
    pub(super) line: usize,
    /// The heading before the block, without `#`.
    pub(super) heading: String,
    pub(super) commands: String,
    /// The time that passes before it, in hours.
    pub(super) hours: u32,
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
                    hours: hours(last),
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

/// Returns the hours that pass after the comment `line`.
fn hours(line: &str) -> u32 {
    let (start, end) = TIME_PASSES;
    let hours = line.strip_prefix(start);
    let hours = hours.map(|hours| hours.strip_suffix(end).and_then(|hours| hours.parse().ok()));
    hours.map_or(0, |hours| hours.unwrap_or_else(|| panic!("{line}")))
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
const REJECTED_OPTIONS: [(&str, &str); 10] = [
    ("sed", "-i"),
    ("sed", "-r"),
    ("grep", "-P"),
    ("date", "-d"),
    ("date", "-I"),
    ("head", "-n-"),
    ("readlink", "-f"),
    ("sort", "-V"),
    ("xargs", "-r"),
    ("aws", "--cli-binary-format"),
];

/// The tools that have long options on every system. All others of [`TOOLS`] are POSIX utilities, which have none.
const WITH_LONG_OPTIONS: [&str; 2] = ["jq", "openssl"];

/// The words that may precede the name of a tool.
const KEYWORDS: [&str; 9] = [
    "!", "{", "do", "else", "if", "then", "time", "until", "while",
];

/// Returns the rejected options that the commands use.
fn rejected_options(commands: &str) -> Vec<String> {
    let mut found = Vec::new();
    let joined = commands.replace("\\\n", " ");
    for command in joined.split(|c: char| "\n|;&()`".contains(c)) {
        let words = command.replace("--payload=", "--payload ");
        let words = words.split_whitespace();
        let is_assignment = |word: &str| word.contains('=') && !word.starts_with('-');
        let mut words = words.skip_while(|word| KEYWORDS.contains(word) || is_assignment(word));
        let tool = words.next().unwrap_or_default();
        // A negative number may be a word of its own.
        let options = words.collect::<Vec<_>>().join(" ").replace("-n -", "-n-");
        let mut payloads = options.split("--payload ").skip(1);
        let is_posix = TOOLS.contains(&tool) && !WITH_LONG_OPTIONS.contains(&tool);
        let is_rejected = |word: &str| {
            let mut rejected = REJECTED_OPTIONS.iter();
            let is_long = word.starts_with("--") && word.len() > 2;
            is_posix && is_long
                || rejected.any(|(name, option)| *name == tool && is_option(word, option))
        };
        if payloads.any(|payload| !payload.starts_with("fileb://"))
            || options.split(' ').any(is_rejected)
        {
            found.push(command.to_owned());
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
    for rejected in [
        "sed -i.bak s/a/b/ f",
        "sed \\\n  -i s/a/b/ f",
        "sed --in-place s/a/b/ f",
        "jq . f | grep -oP x",
        "x=$(date -u -d now)",
        "date -Iseconds",
        "date --date=now",
        "readlink -f f",
        "sort -V f",
        "cat f | xargs -r rm",
        "head -n -1 f",
        "head -n-1 f",
        "aws --cli-binary-format x",
        "aws lambda invoke --payload=file://event.json report.json",
        "aws lambda invoke --payload \\\n  file://event.json report.json",
        "aws lambda invoke --payload '{}' report.json",
    ] {
        assert_eq!(rejected_options(rejected).len(), 1, "{rejected}");
    }
    let accepted = "sed -e s/-i/b/ f\ngrep -E x | jq --arg x y\ndate -u +%s\nprintf -- -i\nhead -n 1 f; tail -n -1 f\n\
                    aws lambda invoke --payload fileb://event.json report.json";
    assert_eq!(rejected_options(accepted), Vec::<String>::new());
}

/// The beginnings of a block. Only blocks of `sh` are run and checked.
const FENCES: [&str; 5] = ["```sh", "```text", "```json", "```yaml", "```hcl"];

/// Returns the lines that begin or end a block in another form.
fn unknown_fences(page: &str) -> Vec<&str> {
    let mut is_open = false;
    let is_fence = |line: &&str| line.starts_with("```") || line.starts_with("~~~");
    let fences = page.lines().map(str::trim_start).filter(is_fence);
    let is_unknown = |line: &&str| {
        let is_known = if is_open {
            *line == "```"
        } else {
            FENCES.contains(line)
        };
        is_open = !is_open;
        !is_known
    };
    fences.filter(is_unknown).collect()
}

#[test]
fn each_block_names_a_known_language() {
    for (name, page) in pages() {
        assert_eq!(unknown_fences(&page), [""; 0], "{name}");
    }
    for fence in [
        "```bash",
        "```shell",
        "``` sh",
        "```console",
        "```",
        "~~~sh",
    ] {
        let page = format!("{fence}\naws s3 ls\n{}\n", &fence[..3]);

        assert!(unknown_fences(&page).contains(&fence), "{fence}");
    }
}

#[test]
fn a_block_has_its_line_and_no_indentation() {
    let page = "# Title\n1. Do:\n   ```sh\n   if x; then\n     y\n   fi\n   ```\n```json\n```sh\n```\n\n```sh\nz\n```\n
<!-- time passes: 25 hours -->\n```sh\nw\n```\n";
    let block = |line, commands: &str, hours| Block {
        line,
        heading: "Title".to_owned(),
        commands: commands.to_owned(),
        hours,
    };

    assert_eq!(
        blocks(page),
        [
            block(3, "if x; then\n  y\nfi\n", 0),
            block(12, "z\n", 0),
            block(17, "w\n", 25)
        ]
    );
}
