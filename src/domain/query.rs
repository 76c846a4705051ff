//! The query of a request: what it names, and the one form in which it goes upstream.
//!
//! Names are compared after decoding (WHATWG URL, `application/x-www-form-urlencoded`), so that an encoded
//! spelling of a parameter is the parameter. Values are not interpreted here.

use std::borrow::Cow;

/// One parameter: as it stood in the query, and decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// `name=value` as received.
    pub raw: &'a str,
    /// The decoded name.
    pub name: Cow<'a, str>,
    /// The decoded value; empty where there is no `=`.
    pub value: Cow<'a, str>,
}

/// The parameters of a raw query, in order. Empty ones, as between `&&`, are left out.
pub fn parameters(raw: &str) -> impl Iterator<Item = Parameter<'_>> {
    raw.split('&').filter(|part| !part.is_empty()).filter_map(|part| {
        let (name, value) = form_urlencoded::parse(part.as_bytes()).next()?;
        Some(Parameter { raw: part, name, value })
    })
}

/// The query with its parameters sorted by name. Those of one name keep their order, since it can mean
/// something; so two queries that differ only in the order of names are one request.
#[must_use]
pub fn sorted(raw: &str) -> String {
    let mut all: Vec<_> = parameters(raw).collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    let mut query = String::with_capacity(raw.len());
    for parameter in &all {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(parameter.raw);
    }
    query
}

/// A path and query without a parameter, in whatever spelling it is there.
#[must_use]
pub fn without_parameter(path_and_query: &str, name: &str) -> String {
    let Some((path, raw)) = path_and_query.split_once('?') else { return path_and_query.to_owned() };
    let mut rest = path.to_owned();
    for (position, parameter) in parameters(raw).filter(|parameter| parameter.name != name).enumerate() {
        rest.push(if position == 0 { '?' } else { '&' });
        rest.push_str(parameter.raw);
    }
    rest
}

/// Writes decoded parameters anew, sorted by name, each encoded in the one way that leaves no separator in it.
#[must_use]
pub fn rebuilt<'a>(mut parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>) -> String {
    parameters.sort_by(|(one, _), (other, _)| one.cmp(other));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_names_does_not_matter_and_that_of_equal_names_does() {
        assert_eq!(sorted("b=1&a=2&b=0"), "a=2&b=1&b=0");
        assert_eq!(sorted("&&page=1&"), "page=1");
        assert_ne!(sorted("a=1&a=2"), sorted("a=2&a=1"));
    }

    #[test]
    fn an_encoded_name_is_the_name() {
        let all: Vec<_> = parameters("account%5Fid=x&b=%26").collect();
        assert_eq!(all[0].name, "account_id");
        assert_eq!(all[1].value, "&");
    }

    #[test]
    fn a_parameter_is_taken_out_in_every_spelling() {
        let without = |path_and_query| without_parameter(path_and_query, "page");
        assert_eq!(without("/a?page=1&per_page=2&p%61ge=3&pages=4"), "/a?per_page=2&pages=4");
        assert_eq!(without("/a?page=1"), without("/a"));
    }

    #[test]
    fn a_rebuilt_value_cannot_smuggle_a_parameter() {
        let smuggler = vec![("page".into(), "1&account_id=2;account_id=3#".into())];
        assert_eq!(rebuilt(smuggler), "page=1%26account_id%3D2%3Baccount_id%3D3%23");
    }
}
