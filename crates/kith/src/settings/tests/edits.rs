//! Edits: comments and order stay, nothing bad is written.

use std::os::unix::fs::PermissionsExt;

use kith_backup::BackupSet;

use super::*;

const FILE: &str = "# my settings\nname = \"study\" # seen by friends\n\n[vault]\n# seldom\nhold-days = 7\n\n[listener]\nport = 4300   # forwarded\n";

fn set_named(name: &str, path: &str) -> BackupSet {
    BackupSet::new(name, vec![path.into()], vec!["Bert".into()], Vec::new()).unwrap()
}

#[test]
fn a_changed_value_keeps_comments_and_order() {
    let world = World::with(FILE);
    let edited = edit::set(&world.sources, "listener.port", "4400").unwrap();
    assert_eq!(world.text(), FILE.replace("4300 ", "4400 "));
    assert_eq!(edited.entry.value, "4400");
    assert!(edited.effective);
    edit::set(&world.sources, "name", "Büro \"2\"").unwrap();
    assert_eq!(world.text(), FILE.replace("4300 ", "4400 ").replace("\"study\"", "'Büro \"2\"'"));
    assert_eq!(world.load().settings().computer_name(), "Büro \"2\"");
}

#[test]
fn a_new_value_goes_into_its_section() {
    let world = World::with(FILE);
    edit::set(&world.sources, "listener.bind", "127.0.0.1,::1").unwrap();
    edit::set(&world.sources, "network.relay", "no").unwrap();
    let expected = format!("{FILE}bind = [\"127.0.0.1\", \"::1\"]\n\n[network]\nrelay = false\n");
    assert_eq!(world.text(), expected);
}

#[test]
fn a_new_value_goes_below_its_commented_sample() {
    let sample = std::fs::read_to_string(repository().join("config/kith.toml")).unwrap();
    let world = World::with(&sample);
    for (key, value, line) in [
        ("name", "study", "# name = \"\"\n"),
        ("listener.port", "4300", "# port = 4242\n"),
        ("control.port", "4301", "# port = 4243\n"),
        ("network.lan-discovery", "false", "# lan-discovery = true\n"),
    ] {
        let before = world.text();
        let entry = edit::set(&world.sources, key, value).unwrap().entry;
        let name = key.rsplit('.').next().unwrap();
        assert_eq!(world.text(), before.replace(line, &format!("{line}{name} = {}\n", entry.value)));
    }
    edit::set(&world.sources, "network.mapped", "a:1=fw:1").unwrap();
    assert!(world.text().contains("[network.mapped]\n\"a:1\" = \"fw:1\"\n"), "{}", world.text());
    assert_eq!(world.load().settings().network.mapped.len(), 1);
}

#[test]
fn dotted_and_inline_sections_are_edited_in_their_own_form() {
    let world = World::with("listener.port = 4300\nvault = { hold-days = 7 }\n");
    edit::set(&world.sources, "listener.port", "4301").unwrap();
    edit::set(&world.sources, "vault.hold-days", "8").unwrap();
    edit::set(&world.sources, "vault.accept", "own").unwrap();
    assert_eq!(world.text(), "listener.port = 4301\nvault = { hold-days = 8, accept = \"own\" }\n");
}

#[test]
fn a_first_edit_makes_a_private_file_and_later_ones_keep_its_mode() {
    let world = World::new();
    let mode = || std::fs::metadata(&world.sources.home_file).unwrap().permissions().mode() & 0o777;
    edit::set(&world.sources, "listener.port", "4300").unwrap();
    assert_eq!((world.text().as_str(), mode()), ("[listener]\nport = 4300\n", 0o600));
    std::fs::set_permissions(&world.sources.home_file, std::fs::Permissions::from_mode(0o644)).unwrap();
    edit::set(&world.sources, "listener.port", "4301").unwrap();
    assert_eq!(mode(), 0o644);
}

#[test]
fn unset_brings_the_layer_below_back() {
    let world = World::with(FILE);
    world.write("etc/kith.toml", "[vault]\nhold-days = 60\n");
    let edited = edit::unset(&world.sources, "vault.hold-days").unwrap();
    assert_eq!((edited.entry.value.as_str(), edited.effective), ("60", true));
    assert!(!world.text().contains("hold-days"));
    edit::unset(&world.sources, "name").unwrap();
    edit::unset(&world.sources, "nat.upnp").unwrap();
    assert_eq!(world.load().settings().name, None);
}

#[test]
fn refused_edits_leave_the_file_alone() {
    let world = World::with(FILE);
    world.write("etc/locked.toml", "\n[vault]\nhold-days = 90\naccept = \"own\"\n");
    let refuse = |key: &str, value: &str| world.sentence(edit::set(&world.sources, key, value));
    assert_eq!(
        refuse("vault.hold-days", "1"),
        "vault.hold-days is locked by the administrator of this computer (TMP/etc/locked.toml, line 3); it can be changed only there"
    );
    // From whom backups are taken can be the administrator's to decide.
    assert!(refuse("vault.accept", "friends").starts_with("vault.accept is locked by the administrator"));
    assert_eq!(world.load().settings().vault.accept, Accept::Own);
    assert!(world.load().get("vault.accept").unwrap().locked);
    assert!(refuse("listener.port", "80").starts_with("listener.port: port 80 can't be used"));
    assert_eq!(
        refuse("listener.port", "many"),
        "listener.port: expected a whole number without quotes, found \"many\""
    );
    assert_eq!(
        refuse("listener.prot", "4300"),
        "there is no setting listener.prot; did you mean listener.port?; all keys: kith settings get"
    );
    assert_eq!(
        refuse("control.port", "4300"),
        "control.port: port 4300 is listener.port already; give each a port of its own"
    );
    assert_eq!(
        refuse("set", "x"),
        "set: sets are not set this way; use `kith set add` and `kith set remove`"
    );
    assert_eq!(world.text(), FILE);
    let names: Vec<_> =
        std::fs::read_dir(world.path("home")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().ends_with(".tmp")), "{names:?}");
}

#[test]
fn a_broken_file_is_not_edited() {
    let world = World::with("[listener]\nprot = 1\n");
    let text = world.sentence(edit::set(&world.sources, "name", "study"));
    assert!(text.starts_with("TMP/home/kith.toml, line 2: there is no setting listener.prot"), "{text}");
}

#[test]
fn a_change_hidden_by_the_environment_is_reported() {
    let mut world = World::with(FILE);
    world.variable("KITH_LISTENER__PORT", "5000");
    let edited = edit::set(&world.sources, "listener.port", "4400").unwrap();
    assert!(!edited.effective);
    assert_eq!(edited.entry.origin.to_string(), "environment variable KITH_LISTENER__PORT");
    assert!(world.text().contains("port = 4400"));
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let mut world = World::new();
    world.sources.home_file = world.path("missing/kith.toml");
    assert_eq!(
        world.sentence(edit::set(&world.sources, "name", "study")),
        "the settings file TMP/missing/kith.toml can't be written: it does not exist; nothing was changed"
    );
}

#[test]
fn a_linked_file_is_changed_where_it_lies() {
    let world = World::new();
    world.write("real.toml", "# mine\n");
    std::os::unix::fs::symlink(world.path("real.toml"), &world.sources.home_file).unwrap();
    edit::set(&world.sources, "name", "study").unwrap();
    assert!(std::fs::symlink_metadata(&world.sources.home_file).unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(world.path("real.toml")).unwrap(), "name = \"study\"\n# mine\n");
}

#[test]
fn sets_are_added_and_removed_with_their_own_comments_only() {
    let world = World::with(FILE);
    edit::add_set(&world.sources, &set_named("docs", "/home/anna/docs")).unwrap();
    edit::add_set(&world.sources, &set_named("pictures", "/home/anna/pictures")).unwrap();
    let two = format!(
        "{FILE}\n[[set]]\nname = \"docs\"\npaths = [\"/home/anna/docs\"]\nto = [\"Bert\"]\n\
         \n[[set]]\nname = \"pictures\"\npaths = [\"/home/anna/pictures\"]\nto = [\"Bert\"]\n"
    );
    assert_eq!(world.text(), two);
    assert_eq!(world.load().settings().sets.len(), 2);
    let commented = two.replacen("\n[[set]]", "\n# about all sets\n\n# about docs\n[[set]]", 1);
    world.write("home/kith.toml", &commented);
    edit::remove_set(&world.sources, "docs").unwrap();
    let left = world.text();
    assert!(left.contains("# about all sets") && !left.contains("# about docs"), "{left}");
    assert_eq!(world.load().settings().sets, [set_named("pictures", "/home/anna/pictures")]);
    edit::remove_set(&world.sources, "pictures").unwrap();
    assert!(world.text().starts_with(FILE) && world.text().contains("# about all sets"));
    assert!(world.load().settings().sets.is_empty());
}

#[test]
fn sets_written_in_line_are_edited_in_line() {
    let world = World::with("set = [{ name = \"a\", paths = [\"/a\"] }]\n");
    edit::add_set(&world.sources, &set_named("b", "/b")).unwrap();
    assert_eq!(world.load().settings().sets.len(), 2);
    edit::remove_set(&world.sources, "a").unwrap();
    assert_eq!(world.load().settings().sets, [set_named("b", "/b")]);
}

#[test]
fn refused_set_changes_say_why() {
    let world = World::new();
    let remove = |name: &str| world.sentence(edit::remove_set(&world.sources, name));
    assert_eq!(remove("docs"), "there is no set named \"docs\"; there are no sets yet");
    edit::add_set(&world.sources, &set_named("docs", "/docs")).unwrap();
    assert_eq!(remove("dosc"), "there is no set named \"dosc\"; there are: docs");
    assert_eq!(
        world.sentence(edit::add_set(&world.sources, &set_named("Docs", "/d"))),
        "there is already a set named \"docs\"; remove it first with `kith set remove`, or choose another name"
    );
    let odd = std::os::unix::ffi::OsStringExt::from_vec(b"/\xff".to_vec());
    let odd: PathBuf = std::ffi::OsString::into(odd);
    let odd = BackupSet::new("odd", vec![odd], Vec::new(), Vec::new()).unwrap();
    assert_eq!(
        world.sentence(edit::add_set(&world.sources, &odd)),
        "the path \"/\\xFF\" is not valid UTF-8, which a settings file must be; back up the folder above it instead"
    );
    let elsewhere = World::new();
    elsewhere.write("etc/kith.toml", "[[set]]\nname = \"all\"\npaths = [\"/\"]\n");
    assert_eq!(
        elsewhere.sentence(edit::remove_set(&elsewhere.sources, "all")),
        "the set \"all\" comes from TMP/etc/kith.toml, line 1; it can be changed only there"
    );
    assert_eq!(
        elsewhere.sentence(edit::add_set(&elsewhere.sources, &set_named("more", "/more"))),
        "the sets come from TMP/etc/kith.toml, line 1; \"more\" can be added only there"
    );
}

#[test]
fn two_writers_lose_nothing() {
    let world = World::new();
    let names: Vec<String> = (0..16).map(|number| format!("set {number}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            let sources = &world.sources;
            scope.spawn(move || edit::add_set(sources, &set_named(name, "/data")).unwrap());
        }
    });
    assert_eq!(world.load().settings().sets.len(), names.len());
}

#[test]
fn what_the_superuser_edits_stays_with_the_owner_of_the_home() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let world = World::new();
    std::os::unix::fs::chown(world.path("home"), Some(4242), Some(4242)).unwrap();
    edit::set(&world.sources, "name", "study").unwrap();
    let files: Vec<_> = std::fs::read_dir(world.path("home")).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(files.len(), 2, "the settings and their lock");
    assert!(files.iter().all(|file| std::os::unix::fs::MetadataExt::uid(&file.metadata().unwrap()) == 4242));
}

#[test]
fn the_superuser_follows_no_link_of_the_owner_of_the_home() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let world = World::new();
    world.write("victim", "");
    let owned_link = |name: &str| {
        let link = world.path("home").join(name);
        std::os::unix::fs::symlink(world.path("victim"), &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(4242), Some(4242)).unwrap();
        link
    };
    std::os::unix::fs::chown(world.path("home"), Some(4242), Some(4242)).unwrap();
    let link = owned_link("kith.toml");
    assert_eq!(
        world.sentence(edit::set(&world.sources, "name", "study")),
        "the settings file TMP/home/kith.toml is a symbolic link of user 4242, which the superuser does not follow; \
         run this as that user"
    );
    std::fs::remove_file(link).unwrap();
    owned_link(".kith.toml.lock");
    assert_eq!(
        world.sentence(edit::set(&world.sources, "name", "study")),
        "the settings file TMP/home/kith.toml can't be written: it is a symbolic link; nothing was changed"
    );
    let victim = std::fs::metadata(world.path("victim")).unwrap();
    assert_eq!((victim.len(), std::os::unix::fs::MetadataExt::uid(&victim)), (0, 0));
}
