//! Layers: who wins, and which place an error names.

use super::*;

#[test]
fn stronger_layers_replace_weaker_ones() {
    let mut world = World::new();
    let port = |world: &World| world.load().settings().listener.port.get();
    let origin = |world: &World| {
        world
            .load()
            .origin("listener.port")
            .to_string()
            .replace(&world.dir.path().display().to_string(), "TMP")
    };
    assert_eq!((port(&world), origin(&world).as_str()), (4242, "default"));
    world.write("etc/kith.toml", "[listener]\nport = 5001\n");
    assert_eq!((port(&world), origin(&world).as_str()), (5001, "TMP/etc/kith.toml, line 2"));
    world.write("etc/conf.d/20-b.toml", "listener.port = 5003\n");
    world.write("etc/conf.d/10-a.toml", "listener = { port = 5002 }\n");
    world.write("etc/conf.d/.hidden.toml", "broken");
    world.write("etc/conf.d/30-c.toml.orig", "broken");
    assert_eq!((port(&world), origin(&world).as_str()), (5003, "TMP/etc/conf.d/20-b.toml, line 1"));
    world.write("home/kith.toml", "\n\n[listener]\nport = 5_004\n");
    assert_eq!((port(&world), origin(&world).as_str()), (5004, "TMP/home/kith.toml, line 4"));
    world.variable("KITH_LISTENER__PORT", "5005");
    assert_eq!((port(&world), origin(&world).as_str()), (5005, "environment variable KITH_LISTENER__PORT"));
    world.sources.overrides.push(("listener.port".into(), "5006".into()));
    assert_eq!((port(&world), origin(&world).as_str()), (5006, "command line"));
    world.write("etc/locked.toml", "[listener]\nport = 0x138F\n");
    assert_eq!((port(&world), origin(&world).as_str()), (5007, "TMP/etc/locked.toml, line 2"));
    assert!(world.load().get("listener.port").unwrap().locked);
}

#[test]
fn lists_and_tables_are_replaced_as_a_whole() {
    let mut world =
        World::with("[network.mapped]\n\"a:1\" = \"fw:1\"\n[listener]\nbind = [\"127.0.0.1\", \"::1\"]\n");
    world.variable("KITH_NETWORK__MAPPED", "b:2=fw:2, c:3=fw:3");
    world.variable("KITH_LISTENER__BIND", "::1");
    let settings = world.load().into_settings();
    let names: Vec<_> = settings.network.mapped.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["b:2", "c:3"]);
    assert_eq!(settings.listener.bind.len(), 1);
}

#[test]
fn the_environment_speaks_every_type() {
    let mut world = World::new();
    world.variable("KITH_NAME", "true");
    world.variable("KITH_CONTROL__APP_PORT", " 5244 ");
    world.variable("KITH_NAT__NAT_PMP", "off");
    world.variable("KITH_NAT__UPNP", "FALSE");
    world.variable("KITH_LISTENER__ADVERTISE", "[2001:db8::1]:4242, home.example.org:1");
    world.variable("KITH_NETWORK__PUNCH_PORT_RANGES", "[\"2000-3000\"]");
    world.variable("KITH_NETWORK__HUBS", "");
    world.variable("KITH_VAULT__DEFAULT_QUOTA", "5GiB");
    world.variable("KITH_NETWORK__MAPPED", "{ \"a:1\" = \"fw:1\" }");
    world.variable("KITH_HOME", "/not/a/setting");
    world.variable("KITH_LOG", "debug");
    world.variable("KITH_UNRELATED", "left alone");
    world.variable("PATH", "/bin");
    let settings = world.load().into_settings();
    assert_eq!(settings.computer_name(), "true");
    assert_eq!(settings.control.app_port.get(), 5244);
    assert!(!settings.nat.nat_pmp && !settings.nat.upnp && settings.nat.pcp);
    assert_eq!(settings.listener.advertise.len(), 2);
    assert_eq!(settings.network.punch_port_ranges.len(), 1);
    assert_eq!(settings.vault.default_quota.bytes(), 5 << 30);
    assert_eq!(settings.network.mapped.len(), 1);
}

#[test]
fn every_key_but_sets_has_a_variable_that_is_understood() {
    for key in schema::KEYS.iter().filter(|key| key.kind != schema::Kind::Sets) {
        let mut world = World::new();
        let default = key.default.trim_matches('"');
        world.variable(&key.variable().unwrap(), default);
        let loaded = world.load();
        assert_eq!(loaded.settings(), &Settings::default(), "{}", key.name);
        assert!(matches!(loaded.origin(key.name), Origin::Environment { .. }));
    }
}

#[test]
fn refused_variables_are_named() {
    let refusal = |name: &str, value: &str| {
        let mut world = World::new();
        world.variable(name, value);
        world.refusal()
    };
    assert_eq!(
        refusal("KITH_CONTROL__APP_PROT", "5244"),
        "environment variable KITH_CONTROL__APP_PROT: there is no setting control.app-prot; \
         did you mean KITH_CONTROL__APP_PORT?; all keys: kith settings get"
    );
    assert_eq!(
        refusal("KITH_LISTENER_PORT", "5244"),
        "environment variable KITH_LISTENER_PORT: there is no setting listener-port; \
         did you mean KITH_LISTENER__PORT?; all keys: kith settings get"
    );
    assert_eq!(
        refusal("KITH_X__Y", "1"),
        "environment variable KITH_X__Y: there is no setting x.y; all keys: kith settings get"
    );
    assert_eq!(
        refusal("KITH_LISTENER__PORT", "http"),
        "environment variable KITH_LISTENER__PORT: listener.port: expected a whole number without quotes, found \"http\""
    );
    assert_eq!(
        refusal("KITH_NAT__UPNP", "maybe"),
        "environment variable KITH_NAT__UPNP: nat.upnp: expected true or false, found \"maybe\""
    );
    assert_eq!(
        refusal("KITH_NETWORK__MAPPED", "nonsense"),
        "environment variable KITH_NETWORK__MAPPED: network.mapped: \
         expected a table of texts, as in { \"one\" = \"two\" }, found \"nonsense\""
    );
    let text = refusal("KITH_LISTENER__PORT", "80");
    assert!(
        text.starts_with("environment variable KITH_LISTENER__PORT: listener.port: port 80 can't be used"),
        "{text}"
    );
    assert!(!refusal("KITH_NETWORK__PROXY", "http://a:s3cret@h").contains("s3cret"));
}

#[test]
fn refused_flags_are_named() {
    let mut world = World::new();
    world.sources.overrides.push(("listener.prot".into(), "5".into()));
    assert_eq!(
        world.refusal(),
        "command line: there is no setting listener.prot; did you mean listener.port?; all keys: kith settings get"
    );
}

#[test]
fn an_unknown_key_names_file_and_line_and_the_closest_known_one() {
    let check = |text: &str, expected: &str| assert_eq!(World::with(text).refusal(), expected, "for {text}");
    let help = "all keys: kith settings get";
    check(
        "\n[listener]\nprot = 1\n",
        &format!(
            "TMP/home/kith.toml, line 3: there is no setting listener.prot; did you mean listener.port?; {help}"
        ),
    );
    check(
        "app_port = 1\n",
        &format!(
            "TMP/home/kith.toml, line 1: there is no setting app_port; did you mean control.app-port?; {help}"
        ),
    );
    check(
        "[control]\napp_port = 1\n",
        &format!(
            "TMP/home/kith.toml, line 2: there is no setting control.app_port; did you mean control.app-port?; {help}"
        ),
    );
    check(
        "[listner]\nport = 1\n",
        &format!("TMP/home/kith.toml, line 1: there is no setting listner; did you mean listener?; {help}"),
    );
    check(
        "[listener]\nhold-days = 1\n",
        &format!(
            "TMP/home/kith.toml, line 2: there is no setting listener.hold-days; did you mean vault.hold-days?; {help}"
        ),
    );
    check(
        "\"listener.port\" = 4300\n",
        &format!(
            "TMP/home/kith.toml, line 1: there is no setting \"listener.port\"; did you mean listener.port?; {help}"
        ),
    );
    check("colour = 1\n", &format!("TMP/home/kith.toml, line 1: there is no setting colour; {help}"));
    check(
        "[network.mappedd]\n",
        &format!(
            "TMP/home/kith.toml, line 1: there is no setting network.mappedd; did you mean network.mapped?; {help}"
        ),
    );
    check(
        "[[set]]\nname = \"a\"\npaths = [\"/a\"]\n\nexcludes = []\n",
        &format!(
            "TMP/home/kith.toml, line 5: there is no setting excludes in [[set]]; did you mean exclude?; {help}"
        ),
    );
    check(
        "listener = 4242\n",
        "TMP/home/kith.toml, line 1: listener: this is a section; write its keys below a line [listener]",
    );
}

#[test]
fn broken_toml_names_file_and_line() {
    let text = World::with("name = \"a\"\n[listener\nport = 1\n").refusal();
    assert!(text.starts_with("TMP/home/kith.toml, line 2: this is not valid TOML: "), "{text}");
    let text = World::with("name = \"a\"\nname = \"b\"\n").refusal();
    assert!(text.starts_with("TMP/home/kith.toml, line 2: this is not valid TOML: duplicate key"), "{text}");
}

#[test]
fn the_layer_with_the_fault_is_named_even_when_a_stronger_one_hides_it() {
    let world = World::with("[listener]\nport = 4300\n");
    world.write("etc/kith.toml", "[listener]\nport = 80\n");
    assert!(world.refusal().starts_with("TMP/etc/kith.toml, line 2: listener.port: port 80"));
}

#[test]
fn conflicts_stand_at_the_key_that_caused_them() {
    let mut world = World::with("[control]\nport = 4300\n");
    world.variable("KITH_LISTENER__PORT", "4300");
    assert_eq!(
        world.refusal(),
        "TMP/home/kith.toml, line 2: control.port: port 4300 is listener.port already; give each a port of its own"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_never_skipped() {
    let world = World::new();
    std::fs::create_dir(world.path("etc/locked.toml")).unwrap();
    assert_eq!(
        world.refusal(),
        "the settings file TMP/etc/locked.toml can't be read: it is a directory, not a file"
    );
    std::fs::remove_dir(world.path("etc/locked.toml")).unwrap();
    std::fs::write(world.path("home/kith.toml"), b"name = \"\xff\"").unwrap();
    assert_eq!(
        world.refusal(),
        "the settings file TMP/home/kith.toml can't be read: it is not valid UTF-8 text"
    );
    std::fs::write(world.path("home/kith.toml"), vec![b'\n'; 1024 * 1024 + 1]).unwrap();
    assert_eq!(
        world.refusal(),
        "the settings file TMP/home/kith.toml has more than 1048576 bytes; it can't be a settings file"
    );
}

#[test]
fn listings_show_value_default_origin_and_help_of_every_key() {
    let world = World::with("[vault]\nhold-days = 7\n[[set]]\nname = \"a\"\npaths = [\"/a\"]\n");
    let entries = world.load().list();
    assert_eq!(entries.len(), schema::KEYS.len());
    let hold = entries.iter().find(|entry| entry.key == "vault.hold-days").unwrap();
    assert_eq!((hold.value.as_str(), hold.default), ("7", "30"));
    assert!(matches!(hold.origin, Origin::File { line: Some(2), .. }));
    let set = entries.iter().find(|entry| entry.key == "set").unwrap();
    assert_eq!(set.value, "[{ name = \"a\", paths = [\"/a\"] }]");
    assert!(entries.iter().all(|entry| entry.help.ends_with('.') && !entry.locked));
}
