//! Rules as JSON (VL2 §5.6).
//!
//! A list is kept in two forms: as JSON, the way it is stored and shown, and as the rules that go
//! into configurations. A rule that is not understood refuses the whole list, because a list that
//! silently lost a rule may let pass what it was written to stop.

use std::net::IpAddr;

use serde_json::{Map, Value, json};
use zt_protocol::inet::IpPrefix;
use zt_protocol::rule::{Action, Match, Rule, Side, TagTest, Target};
use zt_protocol::{Address, Mac};

use crate::json::{Invalid, as_bool, as_u32, as_u64};

/// Most rules of a network, and of a capability (VL2 §8).
const MAX_BASE_RULES: usize = 1024;
const MAX_CAPABILITY_RULES: usize = 64;

/// A rule list in both forms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RuleSet {
    json: Vec<Value>,
    rules: Vec<Rule>,
}

impl RuleSet {
    /// The list of a new network.
    pub(crate) fn accept_all() -> Self {
        // The original shows the two flags on this action only.
        let json = vec![json!({ "type": "ACTION_ACCEPT", "not": false, "or": false })];
        Self {
            json,
            rules: vec![Rule::ACCEPT],
        }
    }

    /// Reads the rules of a network.
    pub(crate) fn read_base(list: &[Value]) -> Result<Self, Invalid> {
        Self::read(list, MAX_BASE_RULES)
    }

    /// Reads the rules of a capability.
    pub(crate) fn read_capability(list: &[Value]) -> Result<Self, Invalid> {
        Self::read(list, MAX_CAPABILITY_RULES)
    }

    /// The rules as they go into a configuration.
    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub(crate) fn to_json(&self) -> Value {
        Value::Array(self.json.clone())
    }

    fn read(list: &[Value], most: usize) -> Result<Self, Invalid> {
        if list.len() > most {
            return Err(Invalid::new(
                "length",
                format_args!("more than {most} rules"),
            ));
        }
        if list == Self::accept_all().json {
            return Ok(Self::accept_all());
        }
        let mut set = Self {
            json: Vec::new(),
            rules: Vec::new(),
        };
        for (index, json) in list.iter().enumerate() {
            let rule = read_rule(json)
                .map_err(|invalid| invalid.within(format_args!("rules[{index}]")))?;
            set.json.push(rule_to_json(&rule));
            set.rules.push(rule);
        }
        Ok(set)
    }
}

/// The kinds of matches that share one shape, by name.
const NODE: [(&str, Side); 2] = [
    ("MATCH_SOURCE_ZEROTIER_ADDRESS", Side::Source),
    ("MATCH_DEST_ZEROTIER_ADDRESS", Side::Destination),
];
const MAC: [(&str, Side); 2] = [
    ("MATCH_MAC_SOURCE", Side::Source),
    ("MATCH_MAC_DEST", Side::Destination),
];
const IPV4: [(&str, Side); 2] = [
    ("MATCH_IPV4_SOURCE", Side::Source),
    ("MATCH_IPV4_DEST", Side::Destination),
];
const IPV6: [(&str, Side); 2] = [
    ("MATCH_IPV6_SOURCE", Side::Source),
    ("MATCH_IPV6_DEST", Side::Destination),
];
const PORT: [(&str, Side); 2] = [
    ("MATCH_IP_SOURCE_PORT_RANGE", Side::Source),
    ("MATCH_IP_DEST_PORT_RANGE", Side::Destination),
];
const TAG: [(&str, TagTest); 7] = [
    ("MATCH_TAGS_DIFFERENCE", TagTest::Difference),
    ("MATCH_TAGS_BITWISE_AND", TagTest::And),
    ("MATCH_TAGS_BITWISE_OR", TagTest::Or),
    ("MATCH_TAGS_BITWISE_XOR", TagTest::Xor),
    ("MATCH_TAGS_EQUAL", TagTest::Equal),
    ("MATCH_TAG_SENDER", TagTest::Sender),
    ("MATCH_TAG_RECEIVER", TagTest::Receiver),
];

fn by_name<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| *value)
}

fn name_of<T: Copy + PartialEq>(table: &[(&'static str, T)], value: T) -> &'static str {
    table
        .iter()
        .find(|(_, known)| *known == value)
        .map_or("", |(name, _)| name)
}

fn read_rule(json: &Value) -> Result<Rule, Invalid> {
    let fields = RuleFields(json);
    let name = json.get("type").and_then(Value::as_str).unwrap_or_default();
    if let Some(action) = read_action(name, &fields)? {
        return Ok(Rule::Action(action));
    }
    let unknown = || Invalid::new("type", format_args!("no rule is called {name:?}"));
    let test = read_match(name, &fields)?.ok_or_else(unknown)?;
    let flag = |name| json.get(name).and_then(as_bool).unwrap_or(false);
    Ok(Rule::Match {
        not: flag("not"),
        or: flag("or"),
        test,
    })
}

fn read_action(name: &str, fields: &RuleFields<'_>) -> Result<Option<Action>, Invalid> {
    Ok(Some(match name {
        "ACTION_DROP" => Action::Drop,
        "ACTION_ACCEPT" => Action::Accept,
        "ACTION_BREAK" => Action::Break,
        "ACTION_PRIORITY" => Action::Priority,
        "ACTION_TEE" => Action::Tee(fields.target()?),
        "ACTION_WATCH" => Action::Watch(fields.target()?),
        "ACTION_REDIRECT" => Action::Redirect(fields.target()?),
        _ => return Ok(None),
    }))
}

fn read_match(name: &str, fields: &RuleFields<'_>) -> Result<Option<Match>, Invalid> {
    if let Some(side) = by_name(&NODE, name) {
        return Ok(Some(Match::Node(side, fields.parsed("zt")?)));
    }
    if let Some(side) = by_name(&MAC, name) {
        return Ok(Some(Match::Mac(side, fields.parsed("mac")?)));
    }
    if let Some(side) = by_name(&IPV4, name) {
        let (IpAddr::V4(ip), bits) = fields.prefix()? else {
            return Err(Invalid::new("ip", "an IPv4 address expected"));
        };
        return Ok(Some(Match::Ipv4(side, ip, bits)));
    }
    if let Some(side) = by_name(&IPV6, name) {
        let (IpAddr::V6(ip), bits) = fields.prefix()? else {
            return Err(Invalid::new("ip", "an IPv6 address expected"));
        };
        return Ok(Some(Match::Ipv6(side, ip, bits)));
    }
    if let Some(side) = by_name(&PORT, name) {
        let first = fields.number("start")?;
        let last = if fields.has("end") {
            fields.number("end")?
        } else {
            first
        };
        return Ok(Some(Match::Port(side, first, last)));
    }
    if let Some(test) = by_name(&TAG, name) {
        let (id, value) = (fields.number("id")?, fields.number("value")?);
        return Ok(Some(Match::Tag { test, id, value }));
    }
    Ok(Some(match name {
        "MATCH_VLAN_ID" => Match::VlanId(fields.number("vlanId")?),
        "MATCH_VLAN_PCP" => Match::VlanPriority(fields.number("vlanPcp")?),
        "MATCH_VLAN_DEI" => Match::VlanDropEligible(fields.number("vlanDei")?),
        "MATCH_IP_TOS" => Match::TypeOfService {
            mask: fields.number("mask")?,
            first: fields.number("start")?,
            last: fields.number("end")?,
        },
        "MATCH_IP_PROTOCOL" => Match::IpProtocol(fields.number("ipProtocol")?),
        "MATCH_ETHERTYPE" => Match::EtherType(fields.number("etherType")?),
        "MATCH_ICMP" => {
            let code = fields
                .has("icmpCode")
                .then(|| fields.number("icmpCode"))
                .transpose()?;
            Match::Icmp(fields.number("icmpType")?, code)
        }
        "MATCH_CHARACTERISTICS" => Match::Characteristics(fields.hex_or_number("mask")?),
        "MATCH_FRAME_SIZE_RANGE" => {
            Match::FrameSize(fields.number("start")?, fields.number("end")?)
        }
        "MATCH_RANDOM" => Match::Random(fields.number("probability")?),
        "INTEGER_RANGE" => {
            let bits: u8 = fields.number("bits")?;
            if !(1..=64).contains(&bits) {
                return Err(Invalid::new("bits", "1 to 64 expected"));
            }
            let little = fields.0.get("little").and_then(as_bool).unwrap_or(false);
            Match::Integer {
                first: fields.hex_or_number("start")?,
                last: fields.hex_or_number("end")?,
                index: fields.number("idx")?,
                format: (bits - 1) | if little { 0x80 } else { 0 },
            }
        }
        _ => return Ok(None),
    }))
}

/// The fields of one rule.
struct RuleFields<'v>(&'v Value);

impl RuleFields<'_> {
    fn has(&self, field: &str) -> bool {
        self.0.get(field).is_some_and(|value| !value.is_null())
    }

    fn number<T: TryFrom<u64>>(&self, field: &str) -> Result<T, Invalid> {
        let number = self
            .0
            .get(field)
            .and_then(as_u64)
            .and_then(|n| T::try_from(n).ok());
        number.ok_or_else(|| Invalid::new(field, "a number in its range expected"))
    }

    fn hex_or_number(&self, field: &str) -> Result<u64, Invalid> {
        let number = match self.0.get(field) {
            Some(Value::String(hex)) => u64::from_str_radix(hex, 16).ok(),
            Some(value) => as_u64(value),
            None => None,
        };
        number.ok_or_else(|| Invalid::new(field, "hexadecimal text expected"))
    }

    fn text(&self, field: &str) -> &str {
        self.0
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        field: &str,
    ) -> Result<T, Invalid> {
        self.text(field)
            .parse()
            .map_err(|reason| Invalid::new(field, reason))
    }

    /// An address with prefix length; without one it matches everything (VL2 §5.6).
    fn prefix(&self) -> Result<(IpAddr, u8), Invalid> {
        let text = self.text("ip");
        if !text.contains('/') {
            return text
                .parse()
                .map(|ip| (ip, 0))
                .map_err(|reason| Invalid::new("ip", reason));
        }
        let prefix: IpPrefix = text.parse().map_err(|reason| Invalid::new("ip", reason))?;
        Ok((prefix.address(), prefix.bits()))
    }

    fn target(&self) -> Result<Target, Invalid> {
        let optional = |field| self.0.get(field).and_then(as_u32).unwrap_or(0);
        Ok(Target {
            address: self.parsed::<Address>("address")?,
            flags: optional("flags"),
            max_length: u16::try_from(optional("length")).unwrap_or(u16::MAX),
        })
    }
}

fn rule_to_json(rule: &Rule) -> Value {
    match rule {
        Rule::Action(action) => action_to_json(action),
        Rule::Match { not, or, test } => {
            let (name, fields) = match_to_json(test);
            let mut json = Map::new();
            json.insert("type".to_owned(), name.into());
            json.insert("not".to_owned(), (*not).into());
            json.insert("or".to_owned(), (*or).into());
            for (field, value) in fields {
                json.insert(field.to_owned(), value);
            }
            json.into()
        }
    }
}

fn action_to_json(action: &Action) -> Value {
    let observed = |name: &str, target: &Target| {
        json!({
            "type": name,
            "address": target.address.to_string(),
            "flags": target.flags,
            "length": target.max_length,
        })
    };
    match action {
        Action::Drop => json!({ "type": "ACTION_DROP" }),
        Action::Accept => json!({ "type": "ACTION_ACCEPT" }),
        Action::Break => json!({ "type": "ACTION_BREAK" }),
        Action::Priority => json!({ "type": "ACTION_PRIORITY" }),
        Action::Tee(target) => observed("ACTION_TEE", target),
        Action::Watch(target) => observed("ACTION_WATCH", target),
        Action::Redirect(target) => json!({
            "type": "ACTION_REDIRECT",
            "address": target.address.to_string(),
            "flags": target.flags,
        }),
        // Never read from JSON.
        Action::Unknown(_) => Value::Null,
    }
}

fn match_to_json(test: &Match) -> (&'static str, Vec<(&'static str, Value)>) {
    let hex = |number: u64| json!(format!("{number:016x}"));
    match test {
        Match::Node(side, node) => (name_of(&NODE, *side), vec![("zt", json!(node.to_string()))]),
        Match::Mac(side, mac) => (
            name_of(&MAC, *side),
            vec![("mac", json!(Mac::to_string(mac)))],
        ),
        Match::Ipv4(side, ip, bits) => (
            name_of(&IPV4, *side),
            vec![("ip", json!(format!("{ip}/{bits}")))],
        ),
        Match::Ipv6(side, ip, bits) => (
            name_of(&IPV6, *side),
            vec![("ip", json!(format!("{ip}/{bits}")))],
        ),
        Match::Port(side, first, last) => (
            name_of(&PORT, *side),
            vec![("start", json!(first)), ("end", json!(last))],
        ),
        Match::Tag { test, id, value } => (
            name_of(&TAG, *test),
            vec![("id", json!(id)), ("value", json!(value))],
        ),
        Match::VlanId(id) => ("MATCH_VLAN_ID", vec![("vlanId", json!(id))]),
        Match::VlanPriority(value) => ("MATCH_VLAN_PCP", vec![("vlanPcp", json!(value))]),
        Match::VlanDropEligible(value) => ("MATCH_VLAN_DEI", vec![("vlanDei", json!(value))]),
        Match::TypeOfService { mask, first, last } => (
            "MATCH_IP_TOS",
            vec![
                ("mask", json!(mask)),
                ("start", json!(first)),
                ("end", json!(last)),
            ],
        ),
        Match::IpProtocol(protocol) => ("MATCH_IP_PROTOCOL", vec![("ipProtocol", json!(protocol))]),
        Match::EtherType(ethertype) => ("MATCH_ETHERTYPE", vec![("etherType", json!(ethertype))]),
        Match::Icmp(kind, code) => (
            "MATCH_ICMP",
            vec![("icmpType", json!(kind)), ("icmpCode", json!(code))],
        ),
        Match::Characteristics(mask) => ("MATCH_CHARACTERISTICS", vec![("mask", hex(*mask))]),
        Match::FrameSize(first, last) => (
            "MATCH_FRAME_SIZE_RANGE",
            vec![("start", json!(first)), ("end", json!(last))],
        ),
        Match::Random(probability) => ("MATCH_RANDOM", vec![("probability", json!(probability))]),
        Match::Integer {
            first,
            last,
            index,
            format,
        } => (
            "INTEGER_RANGE",
            vec![
                ("start", hex(*first)),
                ("end", hex(*last)),
                ("idx", json!(index)),
                ("little", json!(format & 0x80 != 0)),
                ("bits", json!((format & 63) + 1)),
            ],
        ),
        // Never read from JSON.
        Match::Unknown(_) => ("", Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use zt_protocol::Emit;
    use zt_protocol::wire::to_hex;

    use super::*;

    #[test]
    fn the_usual_rules_compile_and_read_back_normalised() {
        let posted = [
            json!({"type": "MATCH_ETHERTYPE", "etherType": 2048, "not": true}),
            json!({"type": "MATCH_ETHERTYPE", "etherType": "2054", "not": true}),
            json!({"type": "MATCH_ETHERTYPE", "etherType": 34525, "not": true}),
            json!({"type": "ACTION_DROP", "not": false}),
            json!({"type": "MATCH_IP_DEST_PORT_RANGE", "start": 22}),
            json!({"type": "ACTION_ACCEPT"}),
        ];
        let set = RuleSet::read_base(&posted).unwrap();
        let wire: Vec<u8> = set.rules().iter().flat_map(Emit::to_bytes).collect();
        assert_eq!(
            to_hex(&wire),
            "a5020800a5020806a50286dd0000280400160016".to_owned() + "0100"
        );
        let shown = set.to_json();
        assert_eq!(
            shown[0],
            json!({"etherType": 2048, "not": true, "or": false, "type": "MATCH_ETHERTYPE"})
        );
        assert_eq!(shown[3], json!({"type": "ACTION_DROP"}));
        assert_eq!(
            shown[4],
            json!({"end": 22, "not": false, "or": false, "start": 22, "type": "MATCH_IP_DEST_PORT_RANGE"})
        );
        assert_eq!(RuleSet::read_base(shown.as_array().unwrap()).unwrap(), set);
    }

    #[test]
    fn every_kind_of_rule_reads_back_as_shown() {
        let address = Address::new(0x11_2233_4455);
        let target = Target {
            address,
            flags: 1,
            max_length: 128,
        };
        let ip4 = "10.0.0.0".parse().unwrap();
        let ip6 = "fd00::".parse().unwrap();
        let mut tests = vec![
            Match::VlanId(0),
            Match::VlanPriority(0),
            Match::VlanDropEligible(0),
            Match::TypeOfService {
                mask: 0xff,
                first: 1,
                last: 2,
            },
            Match::IpProtocol(6),
            Match::Icmp(8, None),
            Match::Icmp(3, Some(4)),
            Match::Characteristics(1 << 63),
            Match::FrameSize(0, 99),
            Match::Random(7),
            Match::Integer {
                first: 5,
                last: 8,
                index: 14,
                format: 0x8f,
            },
            Match::Integer {
                first: 0,
                last: u64::MAX,
                index: 0,
                format: 63,
            },
        ];
        for side in [Side::Source, Side::Destination] {
            tests.push(Match::Node(side, address));
            tests.push(Match::Mac(side, Mac([2, 1, 2, 3, 4, 5])));
            tests.push(Match::Ipv4(side, ip4, 8));
            tests.push(Match::Ipv6(side, ip6, 8));
            tests.push(Match::Port(side, 1, 2));
        }
        tests.extend(TAG.map(|(_, test)| Match::Tag {
            test,
            id: 1,
            value: 2,
        }));
        let matches = tests.into_iter().map(|test| Rule::Match {
            not: true,
            or: true,
            test,
        });
        let actions = [
            Action::Drop,
            Action::Accept,
            Action::Break,
            Action::Priority,
            Action::Tee(target),
            Action::Watch(target),
            Action::Redirect(Target {
                max_length: 0,
                ..target
            }),
        ];
        for rule in matches.chain(actions.map(Rule::Action)) {
            let shown = rule_to_json(&rule);
            assert_eq!(read_rule(&shown), Ok(rule), "{shown}");
        }
    }

    #[test]
    fn a_rule_that_is_not_understood_refuses_the_list() {
        for rule in [
            json!({"type": "MATCH_WEATHER"}),
            json!({"type": "MATCH_ETHERTYPE"}),
            json!({"type": "MATCH_ETHERTYPE", "etherType": 65536}),
            json!({"type": "MATCH_IPV4_SOURCE", "ip": "fd00::/8"}),
            json!({"type": "ACTION_TEE", "address": "1"}),
            json!("ACTION_ACCEPT"),
        ] {
            let invalid = RuleSet::read_base(&[json!({"type": "ACTION_DROP"}), rule]).unwrap_err();
            assert!(invalid.to_string().starts_with("rules[1]."), "{invalid}");
        }
    }
}
