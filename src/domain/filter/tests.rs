use proptest::prelude::*;

use super::*;

const OWN: &str = "5ea75fe7aa224700012eae40";
const FOREIGN: &str = "5ea75fe7aa224700012eae99";

fn parsed(text: &str) -> Expression {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn own() -> Expression {
    let filter: AccountFilter = "account_id eq '{account_id}'".parse().expect("a filter");
    filter.for_account(OWN.parse().expect("an id"))
}

fn composed(theirs: &str) -> String {
    compose(&own(), Some(&parsed(theirs)))
}

#[test]
fn an_expression_is_printed_as_it_is_understood() {
    for (text, printed) in [
        ("a eq 'b'", "a eq 'b'"),
        ("  a   eq\t'b'\n", "a eq 'b'"),
        ("amount ge 1.10", "amount ge 1.10"),
        ("date lt 2024-08-31T00:00:00.000Z", "date lt 2024-08-31T00:00:00.000Z"),
        ("contains(name,'it''s')", "contains(name, 'it''s')"),
        ("a in('x' , 'y')", "a in ('x', 'y')"),
        ("a between 'x'", "a between 'x'"),
        ("a>=5", "a >= 5"),
        ("(a eq 'x' and b eq 'y') or c eq 'z'", "a eq 'x' and b eq 'y' or c eq 'z'"),
        ("a eq 'x' and (b eq 'y' or c eq 'z')", "a eq 'x' and (b eq 'y' or c eq 'z')"),
        ("not a eq 'x' and b eq 'y'", "not a eq 'x' and b eq 'y'"),
        ("not(a eq 'x' and b eq 'y')", "not (a eq 'x' and b eq 'y')"),
        ("not not a eq 'x'", "not (not a eq 'x')"),
        ("((a eq 'x'))", "a eq 'x'"),
        ("a eq ') or (b eq '", "a eq ') or (b eq '"),
        ("customer.name eq 'ünïcode'", "customer.name eq 'ünïcode'"),
    ] {
        assert_eq!(parsed(text).to_string(), printed, "{text}");
        assert_eq!(parsed(&parsed(text).to_string()), parsed(text), "{text}");
    }
}

#[test]
fn errors_have_the_position() {
    for (text, position) in [
        ("", 1),
        ("a", 2),
        ("a eq", 5),
        ("a eq 'x", 6),
        ("a eq 'x''", 6),
        ("a eq 'x')", 9),
        ("(a eq 'x'", 10),
        (")(", 1),
        ("a eq 'x' b eq 'y'", 10),
        ("a eq 'x' and", 13),
        ("a eq 'x' AND b eq 'y'", 10),
        ("a in 'x'", 6),
        ("a in ()", 7),
        ("'x' eq a", 1),
        ("5 eq a", 1),
        ("a eq 'x' -- comment", 10),
        ("a eq 'x' /* comment */", 10),
        ("a eq 'x' # comment", 10),
        ("a eq 'x'; b", 9),
        ("a eq 'x\\' or b eq '", 8),
        ("a eq 'x\0'", 8),
        ("a eq 'x\u{ff07} or b eq \u{ff07}'", 8),
        ("a eq \"x\"", 6),
        ("a eq 'x' or", 12),
        ("contains(a, contains(b, 'c'))", 21),
        ("contains()", 10),
        ("a eq and", 6),
        ("a OR 'x'", 3),
        ("a eq 'x' and\u{a0}b eq 'y'", 13),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.position, position, "{text}: {error}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}a eq 'x'{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(63)).is_ok());
    for text in [nested(64), "(".repeat(8192), "not ".repeat(2048), "not(".repeat(2048)] {
        assert!(parse(&text).is_err());
    }
    // Long conjunctions are not nested.
    let wide = vec!["a eq 'x'"; 600].join(" and ");
    assert_eq!(parsed(&wide).conjuncts().len(), 600);
}

#[test]
fn composing_adds_the_condition_once() {
    let ours = format!("account_id eq '{OWN}'");
    assert_eq!(compose(&own(), None), ours);
    assert_eq!(composed("month eq '2024-08'"), format!("{ours} and (month eq '2024-08')"));
    assert_eq!(composed("a eq 'x' or b eq 'y'"), format!("{ours} and (a eq 'x' or b eq 'y')"));
    assert_eq!(composed("a eq 'x' and b eq 'y'"), format!("{ours} and (a eq 'x' and b eq 'y')"));
    for theirs in [
        "month eq '2024-08'",
        "a eq 'x' or b eq 'y'",
        "not a eq 'x'",
        "a eq 'x' and (b eq 'y' and c eq 'z')",
        &format!("a eq 'x' and account_id eq '{OWN}'"),
        &format!("a eq 'x' or account_id eq '{OWN}'"),
        &ours,
    ] {
        let once = composed(theirs);
        let twice = compose(&own(), Some(&parsed(&once)));
        assert_eq!(once, twice, "{theirs}");
        assert_eq!(once.matches(&format!("{ours} and")).count(), usize::from(theirs != ours), "{once}");
    }
    assert_eq!(composed(&ours), ours);
}

#[test]
fn the_configured_filter_may_have_any_shape_with_the_account_as_a_value() {
    for (text, for_own) in [
        ("account_id eq '{account_id}'", format!("account_id eq '{OWN}'")),
        ("account_id in ('{account_id}')", format!("account_id in ('{OWN}')")),
        ("account.id = {account_id}", format!("account.id = {OWN}")),
        ("contains(account, '{account_id}')", format!("contains(account, '{OWN}')")),
    ] {
        let filter: AccountFilter = text.parse().expect(text);
        assert_eq!(filter.for_account(OWN.parse().expect("an id")).to_string(), for_own);
    }
    assert_eq!("account_id eq '{account_id}'".parse(), Ok(AccountFilter::default()));
    let two: AccountFilter = "a eq '{account_id}' and b eq '{account_id}'".parse().expect("a filter");
    let ours = two.for_account(OWN.parse().expect("an id"));
    let once = compose(&ours, Some(&parsed("c eq 'x'")));
    assert_eq!(once, format!("a eq '{OWN}' and b eq '{OWN}' and (c eq 'x')"));
    assert_eq!(compose(&ours, Some(&parsed(&once))), once);
    assert!(two.names_account("A") && two.names_account("b") && !two.names_account("c"));
    for text in [
        "account_id ne '{account_id}'",
        "account_id le '{account_id}'",
        "account_id in ('{account_id}', 'x')",
        "not account_id eq '{account_id}'",
        "account_id eq '{account_id}' or status eq 'ACTIVE'",
    ] {
        assert_eq!(text.parse::<AccountFilter>(), Err(AccountFilterError::DoesNotSelect), "{text}");
    }
    for text in
        ["", "account_id eq 'x'", "account_id eq 'x{account_id}'", "{account_id} eq 'x'", "{account_id}"]
    {
        assert!(text.parse::<AccountFilter>().is_err(), "{text}");
    }
}

#[test]
fn the_shape_of_a_filter_has_all_but_its_values() {
    for (text, shape) in [
        ("month eq '2024-08'", "month eq '?'"),
        ("amount ge 5 and not (type in ('A', 'B'))", "amount ge ? and not type in ('?', '?')"),
        ("contains(name, 'x') or active eq true", "contains(name, '?') or active eq true"),
    ] {
        assert_eq!(parsed(text).shape(), shape);
    }
}

#[test]
fn every_value_that_an_account_is_compared_with_is_found() {
    let text = format!(
        "a eq '{FOREIGN}' and (account_id eq 'one' or not (account_id in ('two', 'three'))) and account_id ne 'four' \
         and contains(account_id, 'five') and startswith('six', account_id)"
    );
    let expression = parsed(&text);
    let (mut selected, mut other) = (Vec::new(), Vec::new());
    expression.compared_values(&|name| name == "account_id", &mut |value, by| match by {
        ComparisonKind::Equality => selected.push(value),
        ComparisonKind::Other => other.push(value),
    });
    assert_eq!(selected, ["one", "two", "three"]);
    assert_eq!(other, ["four", "five", "six"]);
}

#[test]
fn an_upper_bound_is_the_one_that_holds_for_every_record() {
    let read =
        |text: &str, bound: Bound| Some(text.parse::<i64>().ok()? * 2 + i64::from(bound == Bound::Included));
    for (text, expected) in [
        ("d le 5", Some(11)),
        ("d lt 5", Some(10)),
        ("d <= 5", Some(11)),
        ("d eq 5", Some(11)),
        ("d ge 1 and d le 5", Some(11)),
        ("d le 5 and d le 3", Some(7)),
        ("d in (3, 5, 4)", Some(11)),
        ("d le 5 or d le 7", Some(15)),
        ("(a eq 'x' or b eq 'y') and d le 5", Some(11)),
        ("d le 5 or a eq 'x'", None),
        ("not d le 5", None),
        ("d ge 5", None),
        ("d ne 5", None),
        ("e le 5", None),
        ("d le soon", None),
        ("d in (3, soon)", None),
        ("contains(d, 5)", None),
    ] {
        assert_eq!(parsed(text).upper_bound("d", &read), expected, "{text}");
    }
}

// What an expression means, for records with three attributes of small values. Unknown operators mean nothing here, so
// the strategies make known ones only.

type Record = [u8; 3];

fn means(expression: &Expression, record: Record) -> bool {
    let attribute = |name: &str| record[usize::from(name.as_bytes()[0] - b'a')];
    let number = |value: &Value| value.text.parse::<u8>().expect("a number");
    match expression {
        Expression::All(parts) => parts.iter().all(|part| means(part, record)),
        Expression::Any(parts) => parts.iter().any(|part| means(part, record)),
        Expression::Not(part) => !means(part, record),
        Expression::Comparison { attribute: name, operator, value } => {
            let (own, value) = (attribute(name), number(value));
            match operator.as_str() {
                "eq" => own == value,
                "ne" => own != value,
                "le" => own <= value,
                _ => own > value,
            }
        }
        Expression::In { attribute: name, values } => {
            values.iter().any(|value| number(value) == attribute(name))
        }
        Expression::Call { arguments, .. } => attribute(&arguments[0].text) >= number(&arguments[1]),
    }
}

fn expressions() -> impl Strategy<Value = Expression> {
    let name = || prop_oneof!["a", "b", "c"];
    let value = || (0u8..4, any::<bool>()).prop_map(|(n, quoted)| Value { text: n.to_string(), quoted });
    let operator = prop_oneof!["eq", "ne", "le", "gt"];
    let leaf = prop_oneof![
        (name(), operator, value()).prop_map(|(attribute, operator, value)| Expression::Comparison {
            attribute,
            operator,
            value
        }),
        (name(), proptest::collection::vec(value(), 1..3))
            .prop_map(|(attribute, values)| Expression::In { attribute, values }),
        (name(), value()).prop_map(|(name, value)| Expression::Call {
            function: "atleast".into(),
            arguments: vec![Value { text: name, quoted: false }, value],
        }),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expression::All),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expression::Any),
            inner.prop_map(|part| Expression::Not(Box::new(part))),
        ]
    })
}

fn records() -> impl Iterator<Item = Record> {
    (0..64u8).map(|number| [number & 3, number >> 2 & 3, number >> 4])
}

/// Random pieces of filter syntax.
fn filter_pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("'"),
        Just("''"),
        Just("("),
        Just(")"),
        Just(" "),
        Just("\\"),
        Just("\""),
        Just(","),
        Just("and"),
        Just(" or "),
        Just("OR"),
        Just("not "),
        Just("a eq 1"),
        Just("b eq '"),
        Just("account_id eq '"),
        Just(OWN),
        Just(FOREIGN),
        Just("--"),
        Just("/*"),
        Just("\0"),
        Just("%27"),
        Just("contains("),
        Just(" in ("),
        Just("a"),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Whether a composed text is `ours and (...)`, judged by quotes and parentheses alone: the parenthesis after `ours` closes
/// at the very end.
fn is_enclosed(composed: &str, ours: &str) -> bool {
    let Some(rest) = composed.strip_prefix(ours) else { return false };
    if rest.is_empty() {
        return true;
    }
    let Some(rest) = rest.strip_prefix(" and (") else { return false };
    let (mut depth, mut quoted) = (1, false);
    for (position, one) in rest.char_indices() {
        match one {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return position == rest.len() - 1;
        }
    }
    false
}

proptest! {
    #[test]
    fn what_is_parsed_and_printed_means_the_same(expression in expressions()) {
        let again = parse(&expression.to_string()).expect("it was printed");
        for record in records() {
            prop_assert_eq!(means(&expression, record), means(&again, record), "{}", expression);
        }
        prop_assert_eq!(again.to_string(), expression.to_string());
    }

    #[test]
    fn a_composed_filter_means_both_and_stays_what_it_is(ours in expressions(), theirs in expressions()) {
        let once = compose(&ours, Some(&theirs));
        let both = parse(&once).expect("a filter");
        for record in records() {
            prop_assert_eq!(means(&both, record), means(&ours, record) && means(&theirs, record), "{}", once);
        }
        prop_assert_eq!(compose(&ours, Some(&both)), once);
    }

    #[test]
    fn no_filter_escapes_its_parentheses(text in filter_pieces()) {
        if let Ok(theirs) = parse(&text) {
            let composed = compose(&own(), Some(&theirs));
            prop_assert!(is_enclosed(&composed, &own().to_string()), "{}", composed);
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in any::<String>()) {
        if let Ok(expression) = parse(&text) {
            prop_assert_eq!(parse(&expression.to_string()).map_err(|error| error.reason), Ok(expression));
        }
    }
}
