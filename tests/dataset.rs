//! Datasets on disk: the three layouts, draws and splits by seed, and every mistake a person can make in them.

#![cfg(feature = "teach")]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zoomgate::error::{Error, ErrorKind};
use zoomgate::eval::dataset::{Dataset, Digest};
use zoomgate::eval::item::{Item, Label};
use zoomgate::frame::Frame;
use zoomgate::frame::picture::{self, Mask, save_mask_png, save_png};
use zoomgate::train::options::GOOD_MIN;

/// A 4x3 picture that differs for each `number`.
fn frame(number: u32) -> Frame {
    Frame::still(4, 3, (0..36).map(|i| (i * 7 + number * 13) as u8).collect::<Vec<u8>>())
}

fn put(root: &Path, rel: &str, number: u32) {
    let path = root.join(rel);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    save_png(&path, &frame(number)).unwrap();
}

fn put_mask(root: &Path, rel: &str) {
    let path = root.join(rel);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pixels = (0..12).map(|i| i % 5 == 0).collect();
    save_mask_png(&path, &Mask { width: 4, height: 3, pixels }).unwrap();
}

/// The MVTec AD layout: 10 good to teach, 3 good, 4 dents (with masks), 3 scratches (without) and 2 `likely` to test.
fn layout() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for i in 0..10 {
        put(root, &format!("train/good/{i:03}.png"), i);
    }
    for (kind, count) in [("good", 3), ("dent", 4), ("scratch", 3), ("likely", 2)] {
        for i in 0..count {
            put(root, &format!("test/{kind}/{i:03}.png"), 100 + i);
        }
    }
    for i in 0..4 {
        put_mask(root, &format!("ground_truth/dent/{i:03}_mask.png"));
    }
    dir
}

/// The same pictures, told by a `split.csv` whose rows go backwards and whose goods are grouped two by two.
fn with_table(dir: &TempDir) {
    let mut rows: Vec<String> = Vec::new();
    let layout = Dataset::open(dir.path()).unwrap();
    for item in &layout.good {
        let number: usize = item.rel[11..14].parse().unwrap();
        rows.push(format!("{},train,0,good,,g{},somewhere", item.rel, number / 2));
    }
    for item in &layout.test {
        let mask = if item.kind == "dent" {
            item.rel.replace("test/", "ground_truth/").replace(".png", "_mask.png")
        } else {
            String::new()
        };
        let label = if item.kind == "good" { 0 } else { 1 };
        rows.push(format!("{},test,{label},{},{mask},,", item.rel, item.kind));
    }
    rows.push("test/likely/000.png,test,1,likely,,,".into());
    rows.push("test/likely/001.png,test,1,possibly,,,".into());
    rows.push("path,split,label,defect,mask,group,source".into());
    rows.reverse();
    fs::write(dir.path().join("split.csv"), rows.join("\n")).unwrap();
}

fn rels(items: &[Item]) -> Vec<&str> {
    items.iter().map(|i| i.rel.as_str()).collect()
}

fn refusal<T: std::fmt::Debug>(outcome: Result<T, Error>, kind: ErrorKind, words: &[&str]) -> String {
    let error = outcome.unwrap_err();
    let text = error.message().to_owned();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    text
}

#[test]
fn the_layout_is_listed_in_the_order_of_names() {
    let dir = layout();
    let dataset = Dataset::open(dir.path()).unwrap();
    assert_eq!(dataset.good.len(), 10);
    assert_eq!(rels(&dataset.good)[..2], ["train/good/000.png", "train/good/001.png"]);
    assert_eq!((dataset.bad.len(), dataset.test.len(), dataset.left_out), (0, 10, 2));
    assert!(dataset.test.is_sorted_by_key(|i| i.rel.clone()));
    let dent = &dataset.test[0];
    assert_eq!((dent.rel.as_str(), dent.kind.as_str(), dent.label), ("test/dent/000.png", "dent", Label::Bad));
    assert!(dent.path.is_absolute() && dent.path.is_file());
    let picture = dent.load().unwrap();
    assert_eq!(dent.load_mask(&picture).unwrap().unwrap().pixels.iter().filter(|p| **p).count(), 3);
    let scratch = dataset.test.iter().find(|i| i.kind == "scratch").unwrap();
    assert_eq!(scratch.load_mask(&picture).unwrap(), None);
    assert!(dataset.test.iter().filter(|i| i.kind == "good").all(|i| i.label == Label::Good && i.mask.is_none()));
}

#[test]
fn a_table_says_the_same_and_adds_groups() {
    let dir = layout();
    let plain = Dataset::open(dir.path()).unwrap();
    with_table(&dir);
    let told = Dataset::open(dir.path()).unwrap();
    assert_eq!(told.test, plain.test);
    assert_eq!(rels(&told.good), rels(&plain.good));
    assert_eq!(told.left_out, 2);
    assert_eq!(told.good.iter().map(|i| i.group.as_str()).collect::<HashSet<_>>().len(), 5);
}

#[test]
fn a_table_made_by_a_spreadsheet_is_read() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a b/ä.png", 1);
    put(dir.path(), "x,y.png", 2);
    let table = "\u{feff}Label, Defect ,PATH,Split\r\n0,, ./a b//ä.png ,train\r\n1,dent,\"x,y.png\",train\r\n";
    fs::write(dir.path().join("split.csv"), table).unwrap();
    let dataset = Dataset::open(dir.path()).unwrap();
    assert_eq!((rels(&dataset.good), rels(&dataset.bad)), (vec!["a b/ä.png"], vec!["x,y.png"]));
}

#[test]
fn listing_and_drawing_need_no_test_picture_but_the_drawn() {
    let dir = layout();
    let before = Dataset::open(dir.path()).unwrap();
    let drawn = before.draw_known(2, 5).unwrap();
    let digest = Digest::of(before.good.iter().chain(&drawn.known)).unwrap().hex();
    for item in &drawn.test {
        fs::write(&item.path, b"no picture at all").unwrap();
    }
    let after = Dataset::open(dir.path()).unwrap();
    assert_eq!(after.draw_known(2, 5).unwrap(), drawn);
    assert_eq!(Digest::of(drawn.known.iter().chain(&after.good)).unwrap().hex(), digest);
    // A byte of what is taught does count.
    fs::write(&drawn.known[0].path, b"no picture at all").unwrap();
    assert_ne!(Digest::of(before.good.iter().chain(&drawn.known)).unwrap().hex(), digest);
}

#[test]
fn a_draw_depends_on_names_and_seed_alone() {
    let dir = layout();
    let dataset = Dataset::open(dir.path()).unwrap();
    let draw = dataset.draw_known(3, 1).unwrap();
    assert_eq!(draw.known.len(), 3);
    assert!(draw.known.iter().all(|i| i.label == Label::Bad));
    let mut all: Vec<Item> = draw.known.iter().chain(&draw.test).cloned().collect();
    all.sort_by(|a, b| a.rel.cmp(&b.rel));
    assert_eq!(all, dataset.test);
    // The same names written in another order, elsewhere.
    let other = tempfile::tempdir().unwrap();
    for item in dataset.test.iter().rev().chain(dataset.good.iter().rev()) {
        let to = other.path().join(&item.rel);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&item.path, to).unwrap();
    }
    let again = Dataset::open(other.path()).unwrap().draw_known(3, 1).unwrap();
    assert_eq!((rels(&again.known), rels(&again.test)), (rels(&draw.known), rels(&draw.test)));
    let choices: HashSet<Vec<String>> =
        (0..20).map(|seed| dataset.draw_known(3, seed).unwrap().known.into_iter().map(|i| i.rel).collect()).collect();
    assert!(choices.len() > 10, "20 seeds gave {} choices of 35", choices.len());
    assert!(dataset.draw_known(0, 1).unwrap().known.is_empty());
    assert_eq!(dataset.draw_known(7, 1).unwrap().known.len(), 7);
}

/// The choice itself is pinned: published trials must be repeatable with later versions.
#[test]
fn the_draw_of_seed_0_stays() {
    let dir = layout();
    let draw = Dataset::open(dir.path()).unwrap().draw_known(2, 0).unwrap();
    assert_eq!(rels(&draw.known), ["test/scratch/001.png", "test/scratch/002.png"]);
}

#[test]
fn more_known_defects_than_there_are() {
    let dir = layout();
    let text = refusal(Dataset::open(dir.path()).unwrap().draw_known(8, 0), ErrorKind::Config, &["8 known", "show 7"]);
    assert!(text.contains("ask for 7 or fewer"), "{text}");
}

#[test]
fn held_out_pictures_share_no_group() {
    let dir = layout();
    with_table(&dir);
    let dataset = Dataset::open(dir.path()).unwrap();
    for seed in 0..20 {
        for (fraction, held_out) in [(0.01, 2), (0.25, 2), (0.4, 4), (0.99, 10 - 2)] {
            let parts = dataset.split_held_out(fraction, seed).unwrap();
            // 0.99 of 10 rounds to 10 and would leave nothing to fit.
            assert_eq!(parts.held_out.len(), held_out, "fraction {fraction}, seed {seed}");
            assert_eq!(parts.fit.len() + parts.held_out.len(), 10);
            let groups = |items: &[Item]| items.iter().map(|i| i.group.clone()).collect::<HashSet<_>>();
            assert!(groups(&parts.fit).is_disjoint(&groups(&parts.held_out)));
            assert_eq!(parts, dataset.split_held_out(fraction, seed).unwrap());
        }
    }
    let choices: HashSet<Vec<String>> = (0..20)
        .map(|s| dataset.split_held_out(0.4, s).unwrap().held_out.into_iter().map(|i| i.rel).collect())
        .collect();
    assert!(choices.len() > 3);
    // Without groups every picture stands alone, so that the fraction is met.
    fs::remove_file(dir.path().join("split.csv")).unwrap();
    assert_eq!(Dataset::open(dir.path()).unwrap().split_held_out(0.3, 0).unwrap().held_out.len(), 3);
}

#[test]
fn a_split_that_cannot_be_made_is_refused() {
    let dir = layout();
    let dataset = Dataset::open(dir.path()).unwrap();
    for fraction in [0.0, 1.0, -0.1, f64::NAN] {
        refusal(dataset.split_held_out(fraction, 0), ErrorKind::Config, &["between 0 and 1"]);
    }
    let mut one_group = dataset.clone();
    one_group.good.iter_mut().for_each(|i| i.group = "module 7".into());
    refusal(one_group.split_held_out(0.3, 0), ErrorKind::Refused, &["one group", "other parts"]);
}

#[test]
fn two_folders() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (dir.path().join("ok parts"), dir.path().join("rejects"));
    for i in 0..GOOD_MIN as u32 {
        put(&good, &format!("monday/{i}.png"), i);
    }
    put(&bad, "1.png", 200);
    // What lies beside pictures is no picture.
    fs::write(good.join("notes.txt"), "cleaned the lens").unwrap();
    fs::write(good.join("._1.png"), "left by a file manager").unwrap();
    let dataset = Dataset::from_folders(&good, Some(&bad)).unwrap();
    assert_eq!(dataset.good.len(), GOOD_MIN);
    assert_eq!(dataset.good[0].rel, "good/monday/0.png");
    assert_eq!((rels(&dataset.bad), dataset.bad[0].label), (vec!["bad/1.png"], Label::Bad));
    assert!(dataset.good.iter().chain(&dataset.bad).all(|i| i.path.is_absolute()));
    refusal(dataset.require_test(), ErrorKind::Refused, &["ok parts", "no test pictures"]);
    assert!(Dataset::from_folders(&good, None).unwrap().bad.is_empty());
}

#[test]
fn empty_and_missing_folders() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("notes.txt"), "nothing yet").unwrap();
    let good = dir.path().join("good");
    (0..GOOD_MIN as u32).for_each(|i| put(&good, &format!("{i}.png"), i));
    let missing = dir.path().join("missing");
    refusal(Dataset::open(&empty), ErrorKind::NotFound, &["empty holds no pictures", "train/good"]);
    refusal(Dataset::from_folders(&empty, None), ErrorKind::NotFound, &["empty holds no pictures"]);
    refusal(Dataset::from_folders(&good, Some(&empty)), ErrorKind::NotFound, &["empty holds no pictures"]);
    refusal(Dataset::open(&missing), ErrorKind::NotFound, &["missing", "check the path"]);
    refusal(Dataset::from_folders(&good, Some(&missing)), ErrorKind::NotFound, &["missing"]);
    refusal(Dataset::open(&good.join("0.png")), ErrorKind::Refused, &["0.png is not a folder"]);
}

#[test]
fn one_good_picture_is_too_few_and_the_number_needed_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("train/good");
    put(&good, "1.png", 1);
    let words = ["too few good pictures to teach, 1:", &format!("at least {GOOD_MIN}"), "299"];
    refusal(Dataset::from_folders(&good, None), ErrorKind::Refused, &words);
    // Such a folder can be listed, because `eval` needs no training pictures, but not taught.
    let dataset = Dataset::open(dir.path()).unwrap();
    refusal(dataset.require_good(), ErrorKind::Refused, &words);
    refusal(dataset.split_held_out(0.3, 0), ErrorKind::Refused, &words);
}

#[test]
fn a_bad_picture_that_repeats_a_good_one() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (dir.path().join("good"), dir.path().join("bad"));
    (0..GOOD_MIN as u32).for_each(|i| put(&good, &format!("{i}.png"), i));
    put(&bad, "new.png", 77);
    Dataset::from_folders(&good, Some(&bad)).unwrap();
    fs::copy(good.join("3.png"), bad.join("copy.png")).unwrap();
    let text = refusal(
        Dataset::from_folders(&good, Some(&bad)),
        ErrorKind::Refused,
        &["bad/copy.png repeats ", "good/3.png", "delete the other"],
    );
    assert!(!text.contains("new.png"), "{text}");
}

#[test]
fn a_drawn_defect_that_repeats_a_good_one() {
    let dir = layout();
    fs::copy(dir.path().join("train/good/004.png"), dir.path().join("test/scratch/001.png")).unwrap();
    let dataset = Dataset::open(dir.path()).unwrap();
    refusal(dataset.draw_known(7, 0), ErrorKind::Refused, &["scratch/001.png repeats ", "good/004.png"]);
}

#[test]
fn every_mistake_in_a_table_is_listed_with_its_line() {
    let dir = layout();
    let table = "path,split,label,defect,mask,group\n\
        train/good/000.png,train,0,good,,\n\
        train/good/001.png,valid,0,good,,\n\
        train/good/002.png,train,yes,good,,\n\
        train/good/003.png,train\n\
        ../secret.png,test,1,dent,,\n\
        /etc/passwd.png,test,1,dent,,\n\
        test/dent/000.png,test,1,dent,../mask.png,\n\
        test/dent/001.png,test,0,dent,,\n\
        test/dent/002.png,test,1,good,,\n\
        ,test,1,dent,,\n\
        train/good/000.png,test,0,good,,\n\
        test/dent/gone.png,test,1,dent,,\n";
    fs::write(dir.path().join("split.csv"), table).unwrap();
    let text = refusal(
        Dataset::open(dir.path()),
        ErrorKind::Corrupt,
        &[
            "split.csv",
            "line 3: split is `valid`",
            "line 4: label is `yes`",
            "line 5: 2 fields, the header has 6",
            "line 6: path `../secret.png` leads out of the folder",
            "line 7: path `/etc/passwd.png` leads out of the folder",
            "line 8: path `../mask.png` leads out of the folder",
            "line 9: label is 0 (good) and defect is `dent`",
            "line 10: label is 1 and defect is `good`",
            "line 11: path is empty",
            "line 12: train/good/000.png is on line 2 already",
            "line 13: ",
            "gone.png is missing",
        ],
    );
    assert_eq!(text.lines().count(), 1 + 11, "{text}");
}

#[test]
fn all_missing_files_of_a_table_are_listed() {
    let dir = layout();
    with_table(&dir);
    let line_of = |name: &str| {
        let table = fs::read_to_string(dir.path().join("split.csv")).unwrap();
        1 + table.lines().position(|l| l.contains(name)).unwrap()
    };
    for name in ["train/good/002.png", "test/dent/001.png", "ground_truth/dent/003_mask.png"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let lines: Vec<String> = ["train/good/002.png", "test/dent/001.png", "dent/003_mask.png"]
        .iter()
        .map(|n| format!("line {}: {}", line_of(n), dir.path().canonicalize().unwrap().display()))
        .collect();
    let mut words = vec!["002.png is missing", "001.png is missing", "003_mask.png is missing"];
    words.extend(lines.iter().map(String::as_str));
    let text = refusal(Dataset::open(dir.path()), ErrorKind::NotFound, &words);
    assert_eq!(text.lines().count(), 4, "{text}");
}

#[test]
fn a_table_without_its_columns_or_its_encoding() {
    let dir = layout();
    let open = |table: &[u8]| {
        fs::write(dir.path().join("split.csv"), table).unwrap();
        Dataset::open(dir.path())
    };
    refusal(
        open(b"path;split;label;defect\na.png;train;0;good\n"),
        ErrorKind::Corrupt,
        &["line 1: no column path, split"],
    );
    refusal(open(b"path,split,defect\n"), ErrorKind::Corrupt, &["no column label in `path,split,defect`"]);
    refusal(open(b""), ErrorKind::Corrupt, &["split.csv", "no column"]);
    refusal(open(b"path,split,label,defect\n\xff.png,train,0,good\n"), ErrorKind::Corrupt, &["line 2: not UTF-8"]);
    refusal(open(b"path,split,label,defect\n"), ErrorKind::NotFound, &["holds no pictures"]);
}

#[test]
fn a_picture_without_a_kind_is_not_passed_over() {
    let dir = layout();
    put(dir.path(), "test/stray.png", 9);
    refusal(Dataset::open(dir.path()), ErrorKind::Refused, &["test/stray.png has no kind", "test/good"]);
}

#[test]
fn a_broken_link_is_named() {
    let dir = layout();
    std::os::unix::fs::symlink("nowhere.png", dir.path().join("train/good/link.png")).unwrap();
    refusal(Dataset::open(dir.path()), ErrorKind::NotFound, &["link.png", "link"]);
}

#[test]
fn a_mask_of_another_size_is_refused() {
    let dir = layout();
    let path = dir.path().join("ground_truth/dent/000_mask.png");
    save_mask_png(&path, &Mask { width: 2, height: 1, pixels: vec![true, false] }).unwrap();
    let dent = Dataset::open(dir.path()).unwrap().test[0].clone();
    refusal(dent.load_mask(&dent.load().unwrap()), ErrorKind::Refused, &["000_mask.png is 2x1", "000.png is 4x3"]);
}

#[test]
fn a_digest_is_of_names_and_bytes() {
    let hex = |files: &[(&str, &[u8])]| {
        let mut digest = Digest::default();
        files.iter().for_each(|(rel, bytes)| digest.add(rel, bytes));
        digest.hex()
    };
    let whole = hex(&[("a", b"1"), ("b", b"2")]);
    assert_eq!(whole.len(), 64);
    assert_eq!(whole, hex(&[("b", b"2"), ("a", b"1"), ("a", b"1")]));
    for other in [hex(&[("a", b"2"), ("b", b"1")]), hex(&[("a", b"1")]), hex(&[("a", b"1"), ("c", b"2")]), hex(&[])] {
        assert_ne!(whole, other);
    }
    // Of nothing it is SHA-256 of nothing.
    assert_eq!(hex(&[]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/// The measuring sets, which are not part of the project; `None`, loudly, where they are absent.
fn real(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if !path.is_dir() {
        eprintln!("SKIPPED: ../shared/data/{name} is not here, so real pictures were not tested");
        return None;
    }
    Some(path)
}

#[test]
fn real_sets_have_the_counts_that_their_sources_name() {
    for (name, good, test_good, test_bad, left_out) in [
        ("magnetic_tile", 652, 300, 392, 0),
        ("casting", 1200, 262, 453, 0),
        ("elpv_mono", 387, 201, 313, 173),
        ("mvtec_bottle", 24, 10, 18, 0),
    ] {
        let Some(path) = real(name) else { continue };
        let dataset = Dataset::open(&path).unwrap();
        let bad = dataset.test.iter().filter(|i| i.label == Label::Bad).count();
        assert_eq!((dataset.good.len(), dataset.test.len() - bad, bad), (good, test_good, test_bad), "{name}");
        assert_eq!(dataset.left_out, left_out, "{name}");
        let draw = dataset.draw_known(10, 0).unwrap();
        assert_eq!(draw.test.len(), test_good + test_bad - 10, "{name}");
        let parts = dataset.split_held_out(0.25, 0).unwrap();
        let share = parts.held_out.len() as f64 / good as f64;
        assert!((share - 0.25).abs() < 0.05, "{name}: {share}");
    }
}

#[test]
fn real_pictures_and_their_masks_are_read() {
    for name in ["mvtec_bottle", "magnetic_tile"] {
        let Some(path) = real(name) else { continue };
        let dataset = Dataset::open(&path).unwrap();
        let masked: Vec<_> = dataset.test.iter().filter(|i| i.mask.is_some()).collect();
        assert!(!masked.is_empty());
        let mut blank = Vec::new();
        for item in masked.iter().step_by(4) {
            let frame = item.load().unwrap();
            if !item.load_mask(&frame).unwrap().unwrap().pixels.contains(&true) {
                blank.push(&item.rel);
            }
        }
        // Four of magnetic_tile's 392 masks are black as published.
        assert!(blank.len() <= 4, "{blank:?}");
        for item in dataset.good.iter().step_by(16) {
            assert!(picture::load(&item.path).unwrap().width > 16, "{}", item.rel);
        }
    }
}
