use super::*;

#[test]
fn t16_text_that_could_mean_more_than_a_name_becomes_none() {
    for text in
        ["", "a b", "a/b", "../a", "a;b", "a\nb", "a\u{1b}b", "-a", "ä", "a\"b", "${a}", "a'b"]
    {
        assert!(text.parse::<Role>().is_err(), "{text:?}");
        assert!(text.parse::<PoolName>().is_err(), "{text:?}");
        assert!(text.parse::<GuestName>().is_err(), "{text:?}");
        assert!(text.parse::<ByIdName>().is_err(), "{text:?}");
        assert!(text.parse::<MapperName>().is_err(), "{text:?}");
        assert!(text.parse::<PlanHash>().is_err(), "{text:?}");
        assert!(text.parse::<Mac>().is_err(), "{text:?}");
    }
}

#[test]
fn each_kind_has_its_own_rule() {
    assert!("os".parse::<Role>().is_ok() && "os".parse::<PoolName>().is_err());
    assert!("Apps".parse::<GuestName>().is_ok() && "Apps".parse::<Role>().is_err());
    assert!("wwn-0x5000c500a1b2c3d4".parse::<ByIdName>().is_ok());
    assert!("wwn-0x5000c500a1b2c3d4-part1".parse::<ByIdName>().is_err());
    assert!("bedplate-vm1".parse::<MapperName>().is_ok());
    assert!("bedplate-vm1.2".parse::<MapperName>().is_ok());
    assert!(
        "luks-vm1".parse::<MapperName>().is_err()
            && "bedplate-vm1.x".parse::<MapperName>().is_err()
    );
    assert!(
        "0f".repeat(32).parse::<PlanHash>().is_ok() && "0F".repeat(32).parse::<PlanHash>().is_err()
    );
    assert!("52:54:00:ab:cd:ef".parse::<Mac>().is_ok());
    for wrong in
        ["52:54:00:AB:CD:EF", "53:54:00:ab:cd:ef", "00:00:00:00:00:00", "52-54-00-ab-cd-ef"]
    {
        assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
    }
}

#[test]
fn a_file_that_holds_another_text_is_refused() {
    let role: Role = serde_json::from_str("\"vm1\"").unwrap();
    assert_eq!((role.as_str(), serde_json::to_string(&role).unwrap().as_str()), ("vm1", "\"vm1\""));
    let error = serde_json::from_str::<Role>("\"../vm1\"").unwrap_err().to_string();
    assert!(error.contains("is not the role of a disk"), "{error}");
    assert!(serde_json::from_str::<Role>("\"\"").is_err());
}
