use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::domain::credential::CredentialKey;
use crate::domain::endpoint::{Content, DOCUMENTED, ForwardedFields, PathPattern};
use crate::domain::filter;
use crate::domain::id::Scope;
use crate::domain::learned::{AccountList, LearnedDenial};
use crate::domain::tenant::{DirectOrganization, TenantName};
use proptest::prelude::*;
use rstest::rstest;

const OWN: &str = "5ea75fe7aa224700012eae40";
const SIBLING: &str = "5ea75fe7aa224700012eae41";
const FOREIGN: &str = "5ea75fe7aa224700012eae42";
const INVOICES_SCOPE: &str = "express-accounts-invoices:read";
const MAX_AGE: Duration = Duration::from_mins(15);

fn account(text: &str) -> AccountId {
    text.parse().expect("an account id")
}

fn scope_list(scopes: &[&str]) -> BTreeSet<Scope> {
    scopes.iter().map(|scope| scope.parse().expect("a scope")).collect()
}

fn credential_with(owner: &str, scopes: Option<&[&str]>) -> Arc<Credential> {
    let owner: TenantName = owner.parse().expect("a tenant's name");
    let client_id = format!("client of {owner}").parse().expect("a client id");
    let token_url = "https://account.talkdeskid.com/oauth/token";
    let api_origin = "https://api.talkdeskapp.com";
    let scopes = scopes.map(scope_list);
    let key = CredentialKey::new(token_url, api_origin, &client_id, scopes.as_ref(), None);
    Arc::new(Credential {
        owner,
        client_id,
        token_url: token_url.into(),
        api_origin: api_origin.into(),
        scopes,
        key,
    })
}

fn credential(owner: &str) -> Arc<Credential> {
    credential_with(owner, None)
}

/// A partner's Organization with a client, without a list of accounts, and without discovery.
fn acme() -> Organization {
    Organization {
        id: "acme".parse().expect("an id"),
        name: "Acme Partners".into(),
        enabled: true,
        credential: Some(credential("organizations/acme")),
        accounts: HashSet::new(),
        discover_accounts: false,
    }
}

fn organization(organization: Organization) -> Arc<Tenant> {
    let name = TenantName::Organization(organization.id.clone());
    Arc::new(Tenant::new(name, true, TenantKind::Organization(Arc::new(organization))))
}

fn instance(instance: Instance) -> Arc<Tenant> {
    Arc::new(Tenant::new(globex(), true, TenantKind::Instance(instance)))
}

fn globex() -> TenantName {
    "instances/globex".parse().expect("a tenant's name")
}

fn under(organization: Organization) -> Instance {
    Instance {
        account_id: Some(account(OWN)),
        plan: None,
        seller: Seller::Configured(Arc::new(organization)),
        credential: None,
    }
}

fn narrowed() -> Arc<Tenant> {
    instance(under(acme()))
}

fn sold_by_talkdesk() -> Instance {
    Instance {
        account_id: Some(account(OWN)),
        plan: None,
        seller: Seller::Talkdesk(DirectOrganization::Talkdesk),
        credential: Some(credential("instances/globex")),
    }
}

fn direct() -> Arc<Tenant> {
    instance(sold_by_talkdesk())
}

fn sold_by_a_reseller() -> Instance {
    Instance { seller: Seller::Reseller("Initech Partners".into()), ..sold_by_talkdesk() }
}

fn documented(name: &str) -> Arc<Endpoint> {
    let documented = DOCUMENTED.iter().find(|documented| documented.name == name);
    Arc::new(documented.expect("one of the five").endpoint(&Narrowing::default()))
}

fn added(content: Content) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        position: 5,
        name: "reports".into(),
        path: PathPattern::Exact("/reports".into()),
        methods: vec![http::Method::GET, http::Method::HEAD],
        scope: None,
        content,
        forward_request_fields: ForwardedFields::Listed(Vec::new()),
    })
}

/// A filter as a query parameter, as a browser's form would send it.
fn filter_parameter(filter: &str) -> String {
    format!("filter={}", form_urlencoded::byte_serialize(filter.as_bytes()).collect::<String>())
}

/// The filter that keeps an Instance to its own account.
fn own_filter_parameter() -> String {
    canonical_filter(&format!("account_id eq '{OWN}'"))
}

/// A filter as it goes upstream.
fn canonical_filter(filter: &str) -> String {
    filter_parameter(filter).replace('+', "%20")
}

/// A request of a tenant, and all that decides about it.
struct Situation {
    tenant: Arc<Tenant>,
    endpoint: Arc<Endpoint>,
    query: Option<String>,
    policy: Policy,
    learned: Learned,
    now: Instant,
}

impl Situation {
    /// The tenant asks for its invoices, without a query.
    fn of(tenant: Arc<Tenant>) -> Self {
        let policy = Policy {
            eligible_plans: HashSet::new(),
            instance_query_parameters: INSTANCE_QUERY_PARAMETERS.map(Arc::from).into(),
            narrowing: Narrowing::default(),
            accounts_max_age: MAX_AGE,
            remember_denials: Duration::from_mins(1),
        };
        Self {
            tenant,
            endpoint: documented("invoices"),
            query: None,
            policy,
            learned: Learned::default(),
            now: Clock::System.now().monotonic,
        }
    }

    fn at(mut self, endpoint: &Arc<Endpoint>) -> Self {
        self.endpoint = Arc::clone(endpoint);
        self
    }

    /// The same request with this filter as its only parameter.
    fn filtering(self, filter: &str) -> Self {
        self.asking(&filter_parameter(filter))
    }

    fn asking(mut self, query: &str) -> Self {
        self.query = Some(query.to_owned());
        self
    }

    fn with_plans(mut self, plans: &[&str]) -> Self {
        self.policy.eligible_plans = plans.iter().copied().map(Arc::from).collect();
        self
    }

    fn later_by(mut self, time: Duration) -> Self {
        self.now += time;
        self
    }

    fn path(&self) -> String {
        self.endpoint.path.display()
    }

    fn decide(&self) -> Result<Permit, Denial> {
        let path = self.path();
        let request = AccessRequest { endpoint: &self.endpoint, path: &path, query: self.query.as_deref() };
        authorize(&self.tenant, &request, &self.policy, &self.learned, self.now)
    }

    #[track_caller]
    fn permit(&self) -> Permit {
        self.decide().expect("a permit")
    }

    #[track_caller]
    fn denial(&self) -> Denial {
        self.decide().expect_err("a denial")
    }

    /// The path and query that go upstream.
    #[track_caller]
    fn sent(&self) -> String {
        self.permit().path_and_query().to_string()
    }

    #[track_caller]
    fn owner(&self) -> String {
        self.permit().credential().owner.to_string()
    }

    fn learn_scopes(self, owner: &str, scopes: &[&str], life: Duration) -> Self {
        let scopes = scopes.iter().copied().map(str::to_owned).collect();
        self.learned.learn_scopes(&credential(owner).key, &scopes, self.now + life);
        self
    }

    fn learn_accounts(self, ids: &[&str]) -> Self {
        let names = ["globex", "hooli", "umbrella"];
        let accounts = ids.iter().zip(names).map(|(id, name)| (account(id), name.parse().ok()));
        let list =
            AccountList { accounts: accounts.collect(), without_id: 0, without_name: 0, read_at: self.now };
        let owner = Arc::new(Organization { discover_accounts: true, ..acme() });
        self.learned.learn_accounts(&owner, list);
        self
    }

    fn learn_denial(self, request: &DeniedRequest) -> Self {
        self.learned.learn_denial(request, self.refusal(), self.now);
        self
    }

    fn refusal(&self) -> LearnedDenial {
        LearnedDenial {
            reason: "1010003 Forbidden".into(),
            upstream_request_id: Some("f00".into()),
            until: self.now + Duration::from_mins(1),
        }
    }
}

fn account_denied(value: &str) -> Denial {
    Denial::AccountNotInOrganization { account: value.to_owned() }
}

fn parameter_denied(name: &str) -> Denial {
    Denial::ParameterNotAllowed { parameter: name.to_owned() }
}

// What a permit carries.

#[test]
fn a_permit_says_for_whom_where_and_how() {
    let situation = Situation::of(direct());
    let permit = situation.permit();
    assert!(Arc::ptr_eq(permit.tenant(), &situation.tenant));
    assert!(Arc::ptr_eq(permit.endpoint(), &situation.endpoint));
    assert_eq!(&**permit.path_and_query(), "/express/invoices");
}

// Which credential.

#[test]
fn an_organization_uses_its_own_credential() {
    assert_eq!(Situation::of(organization(acme())).owner(), "organizations/acme");
}

#[test]
fn an_instance_under_a_configured_organization_uses_the_organizations_credential() {
    assert_eq!(Situation::of(narrowed()).owner(), "organizations/acme");
}

#[test]
fn an_instance_under_a_configured_organization_never_uses_a_credential_of_its_own() {
    let own = Some(credential("instances/globex"));
    let tenant = instance(Instance { credential: own, ..under(acme()) });
    assert_eq!(Situation::of(tenant).owner(), "organizations/acme");
}

#[rstest]
#[case::talkdesk(DirectOrganization::Talkdesk)]
#[case::talkdesk_internal(DirectOrganization::TalkdeskInternal)]
fn an_instance_that_talkdesk_sold_uses_its_own_credential(#[case] seller: DirectOrganization) {
    let tenant = instance(Instance { seller: Seller::Talkdesk(seller), ..sold_by_talkdesk() });
    assert_eq!(Situation::of(tenant).owner(), "instances/globex");
}

// tenant_disabled

#[rstest]
#[case::organization(organization(acme()))]
#[case::narrowed_instance(narrowed())]
#[case::direct_instance(direct())]
#[case::resold_instance(instance(sold_by_a_reseller()))]
fn a_disabled_tenant_is_refused(#[case] mut tenant: Arc<Tenant>) {
    Arc::get_mut(&mut tenant).expect("nobody else has it").enabled = false;
    assert_eq!(Situation::of(tenant).denial(), Denial::TenantDisabled { organization: None });
}

#[test]
fn a_disabled_organization_disables_its_instances_and_is_named() {
    let disabled = Organization { enabled: false, ..acme() };
    let id = disabled.id.clone();
    let denial = Situation::of(instance(under(disabled))).denial();
    assert_eq!(denial, Denial::TenantDisabled { organization: Some(id) });
}

#[test]
fn a_disabled_organization_is_refused_itself_without_being_named_as_another() {
    let denial = Situation::of(organization(Organization { enabled: false, ..acme() })).denial();
    assert_eq!(denial, Denial::TenantDisabled { organization: None });
}

// reseller_sold

#[rstest]
#[case::with_a_client_of_its_own(Some(credential("instances/globex")))]
#[case::without_any(None)]
fn an_instance_of_a_reseller_that_is_not_configured_is_never_served(#[case] own: Option<Arc<Credential>>) {
    let tenant = instance(Instance { credential: own, ..sold_by_a_reseller() });
    let expected = Denial::ResellerSold { organization: "Initech Partners".into() };
    assert_eq!(Situation::of(tenant).denial(), expected);
}

// no_oauth_client

#[test]
fn an_organization_without_a_client_is_refused() {
    let tenant = organization(Organization { credential: None, ..acme() });
    assert_eq!(Situation::of(tenant).denial(), Denial::NoOauthClient { organization: None });
}

#[test]
fn an_instance_whose_organization_has_no_client_is_refused_though_it_has_one_itself() {
    let clientless = Organization { credential: None, ..acme() };
    let organization = Some(clientless.id.clone());
    let own = Some(credential("instances/globex"));
    let tenant = instance(Instance { credential: own, ..under(clientless) });
    assert_eq!(Situation::of(tenant).denial(), Denial::NoOauthClient { organization });
}

#[test]
fn a_direct_instance_without_a_client_is_refused() {
    let tenant = instance(Instance { credential: None, ..sold_by_talkdesk() });
    assert_eq!(Situation::of(tenant).denial(), Denial::NoOauthClient { organization: None });
}

// plan_not_eligible

#[rstest]
#[case::another_plan(Some("Starter"))]
#[case::no_plan(None)]
fn an_instance_on_its_own_credential_needs_an_eligible_plan(#[case] plan: Option<&str>) {
    let plan: Option<Arc<str>> = plan.map(Arc::from);
    let tenant = instance(Instance { plan: plan.clone(), ..sold_by_talkdesk() });
    let situation = Situation::of(tenant).with_plans(&["Enterprise", "Elevate"]);
    assert_eq!(situation.denial(), Denial::PlanNotEligible { plan });
}

#[test]
fn an_instance_on_an_eligible_plan_is_served() {
    let tenant = instance(Instance { plan: Some("Elevate".into()), ..sold_by_talkdesk() });
    assert!(Situation::of(tenant).with_plans(&["Enterprise", "Elevate"]).decide().is_ok());
}

#[rstest]
#[case::any_plan(Some("Starter"))]
#[case::no_plan(None)]
fn without_a_list_of_eligible_plans_nobody_is_asked_for_one(#[case] plan: Option<&str>) {
    let tenant = instance(Instance { plan: plan.map(Arc::from), ..sold_by_talkdesk() });
    assert!(Situation::of(tenant).decide().is_ok());
}

#[rstest]
#[case::organization(organization(acme()))]
#[case::narrowed_instance(instance(Instance { plan: Some("Starter".into()), ..under(acme()) }))]
fn plans_are_not_asked_of_who_uses_an_organizations_credential(#[case] tenant: Arc<Tenant>) {
    assert!(Situation::of(tenant).with_plans(&["Enterprise"]).decide().is_ok());
}

// scope_missing

fn with_configured_scopes(scopes: &[&str]) -> Situation {
    let credential = credential_with("organizations/acme", Some(scopes));
    Situation::of(organization(Organization { credential: Some(credential), ..acme() }))
}

fn scope_denied(learned: bool) -> Denial {
    Denial::ScopeMissing { scope: INVOICES_SCOPE.into(), learned }
}

#[rstest]
#[case::another(&["express-products:read"])]
#[case::a_longer_one(&["express-accounts-invoices:read-all"])]
#[case::none_at_all(&[])]
fn configured_scopes_without_the_endpoints_deny(#[case] scopes: &[&str]) {
    assert_eq!(with_configured_scopes(scopes).denial(), scope_denied(false));
}

#[test]
fn configured_scopes_with_the_endpoints_permit() {
    assert!(with_configured_scopes(&["express-products:read", INVOICES_SCOPE]).decide().is_ok());
}

#[test]
fn configured_scopes_deny_even_what_a_token_was_granted() {
    let situation = with_configured_scopes(&["express-products:read"]);
    let key = credential_with("organizations/acme", Some(&["express-products:read"])).key.clone();
    let granted = &[INVOICES_SCOPE.to_owned()].into();
    situation.learned.learn_scopes(&key, granted, situation.now + Duration::from_mins(10));
    assert_eq!(situation.denial(), scope_denied(false));
}

#[rstest]
#[case::organization(organization(acme()))]
#[case::narrowed_instance(narrowed())]
fn learned_scopes_without_the_endpoints_deny_everybody_on_the_credential(#[case] tenant: Arc<Tenant>) {
    let life = Duration::from_mins(10);
    let situation =
        Situation::of(tenant).learn_scopes("organizations/acme", &["express-products:read"], life);
    assert_eq!(situation.denial(), scope_denied(true));
}

#[test]
fn learned_scopes_with_the_endpoints_permit() {
    let life = Duration::from_mins(10);
    let scopes = ["express-products:read", INVOICES_SCOPE];
    assert!(Situation::of(narrowed()).learn_scopes("organizations/acme", &scopes, life).decide().is_ok());
}

#[test]
fn learned_scopes_deny_nothing_once_their_token_has_ended() {
    let life = Duration::from_mins(10);
    let situation = Situation::of(narrowed()).learn_scopes("organizations/acme", &["other:read"], life);
    let situation = situation.later_by(life.checked_sub(Duration::from_nanos(1)).expect("a positive time"));
    assert_eq!(situation.denial(), scope_denied(true));
    assert!(situation.later_by(Duration::from_nanos(1)).decide().is_ok());
}

#[test]
fn an_empty_list_of_granted_scopes_never_denies() {
    let life = Duration::from_mins(10);
    let situation = Situation::of(narrowed()).learn_scopes("organizations/acme", &["other:read"], life);
    assert!(situation.learn_scopes("organizations/acme", &[], life).decide().is_ok());
}

#[test]
fn scopes_that_nobody_told_never_deny() {
    assert!(Situation::of(narrowed()).decide().is_ok());
}

#[test]
fn scopes_of_another_credential_say_nothing() {
    let life = Duration::from_mins(10);
    assert!(
        Situation::of(direct()).learn_scopes("organizations/acme", &["other:read"], life).decide().is_ok()
    );
}

#[test]
fn an_endpoint_without_a_scope_asks_for_none() {
    let situation = with_configured_scopes(&[]).at(&added(Content::Opaque));
    assert!(situation.decide().is_ok());
}

// organization_only

#[rstest]
#[case::accounts(documented("accounts"))]
#[case::opaque(added(Content::Opaque))]
fn a_narrowed_instance_may_not_ask_what_cannot_be_narrowed_to_it(#[case] endpoint: Arc<Endpoint>) {
    assert_eq!(Situation::of(narrowed()).at(&endpoint).denial(), Denial::OrganizationOnly);
}

#[rstest]
#[case::accounts(documented("accounts"))]
#[case::opaque(added(Content::Opaque))]
fn organizations_and_direct_instances_may_ask_for_everything(
    #[case] endpoint: Arc<Endpoint>,
    #[values(organization(acme()), direct())] tenant: Arc<Tenant>,
) {
    assert!(Situation::of(tenant).at(&endpoint).decide().is_ok());
}

#[rstest]
fn an_instance_on_its_organizations_credential_without_an_account_id_sees_nothing(
    #[values("accounts", "products", "subscriptions", "invoices", "monthly_usage")] endpoint: &str,
) {
    let tenant = instance(Instance { account_id: None, ..under(acme()) });
    assert_eq!(Situation::of(tenant).at(&documented(endpoint)).denial(), Denial::OrganizationOnly);
}

// The account scope.

#[rstest]
fn an_instance_is_narrowed_to_its_account_by_filter_and_by_check(
    #[values("subscriptions", "invoices", "monthly_usage")] name: &str,
) {
    let endpoint = documented(name);
    let situation = Situation::of(narrowed()).at(&endpoint);
    assert_eq!(situation.sent(), format!("{}?{}", situation.path(), own_filter_parameter()));
    let account_scope = AccountScope { field: "account_id".into(), account: account(OWN) };
    assert_eq!(situation.permit().account_scope(), Some(&account_scope));
}

#[rstest]
#[case::empty("")]
#[case::separators_alone("&&")]
#[case::blank("filter=+")]
#[case::own("filter=account_id+eq+'5ea75fe7aa224700012eae40'")]
#[case::own_twice(
    "filter=account_id+eq+'5ea75fe7aa224700012eae40'+and+account_id+eq+'5ea75fe7aa224700012eae40'"
)]
#[case::an_encoded_name("%66ilter=account_id%20eq%20%275ea75fe7aa224700012eae40%27")]
fn the_own_account_however_it_is_asked_for_goes_upstream_once_in_one_form(#[case] query: &str) {
    let sent = Situation::of(narrowed()).asking(query).sent();
    assert_eq!(sent, format!("/express/invoices?{}", own_filter_parameter()));
}

#[rstest]
#[case::one("month eq '2024-08'")]
#[case::two("date ge '2024-08-01' and date le '2024-08-31'")]
#[case::either("type eq 'CALL' or type eq 'MESSAGE'")]
#[case::a_quote("contains(description, 'it''s')")]
#[case::an_unknown_operator("amount roughly 5")]
#[case::its_own_account_in_capitals("account_id eq '5EA75FE7AA224700012EAE40'")]
fn an_own_filter_of_an_instance_is_put_into_parentheses_behind_its_accounts(#[case] filter: &str) {
    let composed = format!("account_id eq '{OWN}' and ({filter})");
    let situation = Situation::of(narrowed()).filtering(filter);
    let sent = situation.sent();
    assert_eq!(sent, format!("/express/invoices?{}", canonical_filter(&composed)));
    // As in a link that Talkdesk's answer to it carries.
    assert_eq!(situation.filtering(&composed).sent(), sent);
}

#[rstest]
#[case::a_sibling("account_id eq '5ea75fe7aa224700012eae41'", SIBLING)]
#[case::own_and_sibling("account_id in ('5ea75fe7aa224700012eae40', '5ea75fe7aa224700012eae41')", SIBLING)]
#[case::deep_inside("a eq 'x' or not (b eq 'y' and account_id eq '5ea75fe7aa224700012eae41')", SIBLING)]
#[case::another_operator("account_id ne '5ea75fe7aa224700012eae41'", SIBLING)]
#[case::an_order("account_id gt '0'", "0")]
#[case::a_part("contains(account_id, '5ea75fe7')", "5ea75fe7")]
#[case::another_case("Account_ID eq '5ea75fe7aa224700012eae41'", SIBLING)]
#[case::a_name("account_id eq 'globex'", "globex")]
#[case::with_a_space("account_id eq '5ea75fe7aa224700012eae40 '", "5ea75fe7aa224700012eae40 ")]
#[case::nobody("account_id eq '000000000000000000000000'", "000000000000000000000000")]
fn an_instance_may_name_no_account_but_its_own(#[case] filter: &str, #[case] told: &str) {
    for endpoint in ["invoices", "products"] {
        let situation = Situation::of(narrowed()).at(&documented(endpoint)).filtering(filter);
        assert_eq!(situation.denial(), account_denied(told));
    }
}

#[rstest]
#[case::a_quote_too_many("month eq '2024-08''")]
#[case::a_parenthesis_too_many("month eq '2024-08')")]
#[case::out_of_the_parentheses("month eq '2024-08') or (month ne ''")]
#[case::a_backslash("month eq '\\') or (month ne '")]
#[case::a_comment("month eq '2024-08' --")]
#[case::a_nul("month eq '2024-08\0'")]
#[case::an_upper_case_keyword("month eq '2024-08' OR month ne ''")]
#[case::not_a_filter("everything")]
#[case::too_deep(&"(".repeat(8000))]
fn a_filter_that_can_not_be_combined_is_refused_for_an_instance(#[case] filter: &str) {
    let situation = Situation::of(narrowed()).filtering(filter);
    assert!(matches!(situation.denial(), Denial::FilterNotUnderstood { .. }), "{filter}");
}

#[rstest]
#[case::twice("filter=a+eq+1&filter=b+eq+2")]
#[case::twice_in_another_spelling("filter=a+eq+1&%66ilter=b+eq+2")]
#[case::once_blank("filter=&filter=b+eq+2")]
#[case::not_utf_8("filter=a+eq+'%FF'")]
fn an_instance_has_one_filter(#[case] query: &str) {
    let denial = Situation::of(narrowed()).asking(query).denial();
    assert!(matches!(denial, Denial::FilterNotUnderstood { .. }), "{query}");
}

#[rstest]
#[case::unknown("fields=all", "fields")]
#[case::the_account("account_id=5ea75fe7aa224700012eae40", "account_id")]
#[case::another_case("Page=1", "Page")]
#[case::a_filter_in_another_case("Filter=a+eq+1", "Filter")]
#[case::an_array("page[]=1", "page[]")]
#[case::an_array_encoded("page%5B%5D=1", "page[]")]
#[case::a_filter_array("filter[]=a+eq+1", "filter[]")]
#[case::a_nul("page%00=1", "page\0")]
#[case::a_nul_before("%00filter=a+eq+1", "\0filter")]
#[case::a_space("page+=1", "page ")]
#[case::a_space_before("%20page=1", " page")]
#[case::encoded_twice("%2566ilter=a+eq+1", "%66ilter")]
#[case::an_equals_sign_in_the_name("page%3D1=2", "page=1")]
#[case::a_separator_in_the_name("page%26filter=a", "page&filter")]
#[case::a_semicolon_in_the_name("page;filter=a", "page;filter")]
#[case::not_utf_8("p%FFge=1", "p\u{fffd}ge")]
#[case::no_name("=1", "")]
#[case::a_question_mark("?page=1", "?page")]
#[case::after_good_ones("page=1&per_page=5&sort=asc", "sort")]
fn an_instance_may_use_no_parameter_that_is_not_listed(#[case] query: &str, #[case] name: &str) {
    for endpoint in ["invoices", "products"] {
        let situation = Situation::of(narrowed()).at(&documented(endpoint)).asking(query);
        assert_eq!(situation.denial(), parameter_denied(name));
    }
}

#[test]
fn an_instance_may_follow_a_link_whatever_parameters_it_carries() {
    let situation = Situation::of(narrowed()).asking("page=2&after=abc");
    assert_eq!(situation.denial(), parameter_denied("after"));
    let endpoint: Arc<str> = "invoices".into();
    let learn = |value: &'static str| {
        let parameter = Parameter::new("after", value);
        let key = &credential("organizations/acme").key;
        situation.learned.learn_link_parameter(key, account(OWN), &endpoint, &parameter);
    };
    learn("abc");
    assert_eq!(situation.sent(), format!("/express/invoices?after=abc&{}&page=2", own_filter_parameter()));
    let other_value = situation.asking("page=2&after=abd");
    assert_eq!(other_value.denial(), parameter_denied("after"));
    let other_endpoint = other_value.at(&documented("subscriptions")).asking("after=abc");
    assert_eq!(other_endpoint.denial(), parameter_denied("after"));
}

#[rstest]
#[case::listed("per_page=50&order_by=date&page=2", "&order_by=date&page=2&per_page=50")]
#[case::an_encoded_name("%70age=2", "&page=2")]
#[case::repeated("page=2&page=1", "&page=2&page=1")]
#[case::without_a_value("page", "&page=")]
fn listed_parameters_of_an_instance_go_upstream_sorted(#[case] query: &str, #[case] sent: &str) {
    let expected = format!("/express/invoices?{}{sent}", own_filter_parameter());
    assert_eq!(Situation::of(narrowed()).asking(query).sent(), expected);
}

#[rstest]
#[case::an_encoded_separator("page=1%26filter%3Dx", "1%26filter%3Dx")]
#[case::a_semicolon("page=1;filter=x", "1%3Bfilter%3Dx")]
#[case::an_encoded_semicolon("page=1%3Bfilter%3Dx", "1%3Bfilter%3Dx")]
#[case::a_fragment("page=1%23filter=x", "1%23filter%3Dx")]
#[case::a_line("page=1%0D%0Afilter:%20x", "1%0D%0Afilter%3A%20x")]
#[case::a_second_query("page=1?filter=x", "1%3Ffilter%3Dx")]
fn a_value_can_not_add_a_filter(#[case] query: &str, #[case] value: &str) {
    let sent = Situation::of(narrowed()).asking(query).sent();
    assert_eq!(sent, format!("/express/invoices?{}&page={value}", own_filter_parameter()));
}

fn reports() -> Narrowing {
    Narrowing { filter: "tenant in ('{account_id}')".parse().expect("a filter"), field: "owner".into() }
}

#[test]
fn an_added_endpoint_is_narrowed_by_its_own_filter_and_field() {
    let situation = Situation::of(narrowed()).at(&added(Content::Records(reports())));
    let own = canonical_filter(&format!("tenant in ('{OWN}')"));
    assert_eq!(situation.sent(), format!("/reports?{own}"));
    let account_scope = AccountScope { field: "owner".into(), account: account(OWN) };
    assert_eq!(situation.permit().account_scope(), Some(&account_scope));
    let mut situation = situation;
    for filter in ["tenant eq '5ea75fe7aa224700012eae41'", "owner eq '5ea75fe7aa224700012eae41'"] {
        situation = situation.filtering(filter);
        assert_eq!(situation.denial(), account_denied(SIBLING));
    }
    // Whatever that is here.
    let other = situation.filtering("account_id eq '5ea75fe7aa224700012eae41'");
    assert!(other.decide().is_ok());
}

#[rstest]
#[case::without_a_query(None, "/express/products")]
#[case::a_filter(
    Some("filter=family+eq+'Voice'&page=2"),
    "/express/products?filter=family%20eq%20%27Voice%27&page=2"
)]
fn an_instance_gets_the_catalogue_as_it_is(#[case] query: Option<&str>, #[case] sent: &str) {
    let mut situation = Situation::of(narrowed()).at(&documented("products"));
    situation.query = query.map(str::to_owned);
    assert_eq!(situation.sent(), sent);
    assert_eq!(situation.permit().account_scope(), None);
}

#[test]
fn what_shows_whether_talkdesk_narrows_asks_for_nobody_and_never_for_the_instance() {
    let situation = Situation::of(narrowed()).asking("filter=month+eq+'2024-08'&page=9&order_by=date");
    let probe = situation.permit().probe(&Narrowing::default());
    let nobody = canonical_filter("account_id eq '000000000000000000000000' and (month eq '2024-08')");
    assert_eq!(**probe.path_and_query(), format!("/express/invoices?{nobody}&per_page=1"));
    assert_eq!(probe.account_scope().map(|scope| scope.account), Some(AccountId::NONEXISTENT));
    assert_eq!(probe.credential().key, situation.permit().credential().key);
}

#[rstest]
#[case::organization(organization(acme()))]
#[case::direct_instance(direct())]
fn who_uses_a_credential_of_its_own_has_no_check_and_any_parameter(#[case] tenant: Arc<Tenant>) {
    let situation = Situation::of(tenant).asking("fields=all");
    assert_eq!(situation.sent(), "/express/invoices?fields=all");
    assert_eq!(situation.permit().account_scope(), None);
}

// Accounts that an Organization names.

fn naming(partner: Organization, named: &str) -> Situation {
    Situation::of(organization(partner)).filtering(&format!("account_id eq '{named}'"))
}

fn listing(ids: &[&str]) -> Organization {
    Organization { accounts: ids.iter().map(|id| account(id)).collect(), ..acme() }
}

fn discovering() -> Organization {
    Organization { discover_accounts: true, ..acme() }
}

#[test]
fn an_organization_may_name_an_account_that_it_lists() {
    let situation = naming(listing(&[OWN, SIBLING]), SIBLING);
    let filter = canonical_filter(&format!("account_id eq '{SIBLING}'"));
    assert_eq!(situation.sent(), format!("/express/invoices?{filter}"));
    assert!(situation.permit().reread_accounts().is_none());
}

#[rstest]
#[case::another("account_id eq '5ea75fe7aa224700012eae42'", FOREIGN)]
#[case::in_a_list("account_id in ('5ea75fe7aa224700012eae40', '5ea75fe7aa224700012eae42')", FOREIGN)]
#[case::or("account_id eq '5ea75fe7aa224700012eae40' or account_id eq '5ea75fe7aa224700012eae42'", FOREIGN)]
#[case::another_case("ACCOUNT_ID eq '5ea75fe7aa224700012eae42'", FOREIGN)]
#[case::no_id("account_id eq 'globex'", "globex")]
#[case::empty("account_id eq ''", "")]
fn a_list_of_accounts_without_discovery_is_closed(#[case] filter: &str, #[case] told: &str) {
    let situation = Situation::of(organization(listing(&[OWN, SIBLING]))).filtering(filter);
    assert_eq!(situation.denial(), account_denied(told));
}

#[rstest]
#[case::not_a_filter("everything of everybody")]
#[case::in_another_language("account_id='5ea75fe7aa224700012eae42' && 1")]
#[case::another_operator("account_id ne '5ea75fe7aa224700012eae42'")]
#[case::another_attribute("name eq '5ea75fe7aa224700012eae42'")]
fn a_filter_of_an_organization_goes_up_where_it_names_no_account(#[case] filter: &str) {
    let sent = Situation::of(organization(listing(&[OWN]))).filtering(filter).sent();
    let query = sent.strip_prefix("/express/invoices?").expect("a query");
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!(pairs, [("filter".to_owned(), filter.to_owned())]);
}

#[test]
fn a_list_with_an_account_without_an_id_denies_nothing() {
    let situation = naming(discovering(), FOREIGN);
    let accounts = std::iter::once((account(OWN), "globex".parse().ok()));
    let list =
        AccountList { accounts: accounts.collect(), without_id: 1, without_name: 0, read_at: situation.now };
    situation.learned.learn_accounts(&Arc::new(discovering()), list);
    assert!(situation.decide().is_ok());
}

#[test]
fn a_closed_list_stays_closed_whatever_was_learned() {
    let situation = naming(listing(&[OWN]), SIBLING).learn_accounts(&[OWN, SIBLING]);
    assert_eq!(situation.denial(), account_denied(SIBLING));
}

#[test]
fn a_listed_account_may_be_written_in_capitals() {
    assert!(naming(listing(&[OWN]), "5EA75FE7AA224700012EAE40").decide().is_ok());
}

#[test]
fn an_organization_that_names_no_account_is_never_asked_for_one() {
    assert!(Situation::of(organization(listing(&[OWN]))).asking("page=1").decide().is_ok());
}

#[test]
fn with_neither_list_nor_discovery_upstream_decides() {
    let permit = naming(acme(), FOREIGN).permit();
    assert!(permit.reread_accounts().is_none());
}

#[test]
fn a_young_learned_list_permits_what_is_on_it() {
    let permit = naming(discovering(), SIBLING).learn_accounts(&[OWN, SIBLING]).permit();
    assert!(permit.reread_accounts().is_none());
}

#[rstest]
#[case::another(FOREIGN)]
#[case::no_id("globex")]
fn a_young_learned_list_denies_what_is_not_on_it(#[case] named: &str) {
    let situation = naming(discovering(), named).learn_accounts(&[OWN, SIBLING]);
    let young = MAX_AGE.checked_sub(Duration::from_nanos(1)).expect("a positive time");
    assert_eq!(situation.later_by(young).denial(), account_denied(named));
}

#[test]
fn a_young_learned_list_without_any_account_denies_all() {
    let situation = naming(discovering(), OWN).learn_accounts(&[]);
    assert_eq!(situation.denial(), account_denied(OWN));
}

#[test]
fn an_old_learned_list_lets_upstream_decide_and_is_read_again() {
    let situation = naming(discovering(), FOREIGN).learn_accounts(&[OWN]).later_by(MAX_AGE);
    let permit = situation.permit();
    let reread = permit.reread_accounts().expect("a list that is to be read again");
    assert_eq!(reread.id.as_str(), "acme");
}

#[test]
fn an_old_learned_list_is_good_enough_for_what_is_on_it() {
    let situation = naming(discovering(), OWN).learn_accounts(&[OWN]).later_by(MAX_AGE * 10);
    assert!(situation.permit().reread_accounts().is_none());
}

#[test]
fn discovery_that_has_learned_nothing_yet_lets_upstream_decide_and_starts_to_learn() {
    let permit = naming(discovering(), FOREIGN).permit();
    assert!(permit.reread_accounts().is_some());
}

#[test]
fn what_is_configured_counts_beside_what_is_learned() {
    let both = Organization { discover_accounts: true, ..listing(&[SIBLING]) };
    assert!(naming(both, SIBLING).learn_accounts(&[OWN]).decide().is_ok());
}

#[test]
fn discovery_opens_a_configured_list() {
    let both = Organization { discover_accounts: true, ..listing(&[SIBLING]) };
    assert!(naming(both, OWN).learn_accounts(&[OWN]).decide().is_ok());
}

#[test]
fn the_learned_list_of_another_organization_says_nothing() {
    let other = Organization { id: "northwind".parse().expect("an id"), ..discovering() };
    assert!(naming(other, FOREIGN).learn_accounts(&[OWN]).decide().is_ok());
}

#[test]
fn an_added_endpoint_names_accounts_by_its_own_filter() {
    let situation = Situation::of(organization(listing(&[OWN]))).at(&added(Content::Records(reports())));
    let situation = situation.filtering("tenant eq '5ea75fe7aa224700012eae42'");
    assert_eq!(situation.denial(), account_denied(FOREIGN));
}

#[rstest]
fn a_foreign_account_is_refused_on_every_endpoint(
    #[values("accounts", "products", "subscriptions", "invoices", "monthly_usage")] name: &str,
    #[values(organization(listing(&[OWN])), direct())] tenant: Arc<Tenant>,
) {
    let filter = format!("account_id eq '{FOREIGN}'");
    let situation = Situation::of(tenant).at(&documented(name)).filtering(&filter);
    assert_eq!(situation.denial(), account_denied(FOREIGN));
}

// Accounts that a direct Instance names.

#[rstest]
#[case::another("account_id eq '5ea75fe7aa224700012eae42'", FOREIGN)]
#[case::beside_its_own("account_id in ('5ea75fe7aa224700012eae40', '5ea75fe7aa224700012eae42')", FOREIGN)]
#[case::no_id("account_id eq ''", "")]
fn a_direct_instance_may_not_name_another_account(#[case] filter: &str, #[case] told: &str) {
    assert_eq!(Situation::of(direct()).filtering(filter).denial(), account_denied(told));
}

#[test]
fn a_direct_instance_may_name_its_own_account() {
    let filter = "account_id eq '5EA75FE7AA224700012EAE40'";
    let sent = Situation::of(direct()).filtering(filter).sent();
    assert_eq!(sent, format!("/express/invoices?{}", canonical_filter(filter)));
}

#[test]
fn for_a_direct_instance_of_unknown_id_upstream_decides() {
    let tenant = instance(Instance { account_id: None, ..sold_by_talkdesk() });
    let filter = "account_id eq '5ea75fe7aa224700012eae42'";
    assert!(Situation::of(tenant).filtering(filter).decide().is_ok());
}

// The query as it goes upstream.

#[rstest]
#[case::organization(organization(acme()))]
#[case::direct_instance(direct())]
fn parameters_go_upstream_in_one_form(#[case] tenant: Arc<Tenant>) {
    let situation = Situation::of(tenant).asking("per_page=9&a=2&&page=1&a=1&%62=%20");
    assert_eq!(situation.sent(), "/express/invoices?a=2&a=1&b=%20&page=1&per_page=9");
}

#[test]
fn an_empty_query_is_none() {
    assert_eq!(Situation::of(direct()).asking("").sent(), "/express/invoices");
}

// denied_by_talkdesk

fn denied(tenant: Arc<Tenant>, query: &str) -> Situation {
    let situation = Situation::of(tenant).asking(query);
    let request = situation.permit().as_denied_request();
    situation.learn_denial(&request)
}

#[test]
fn a_request_that_talkdesk_denied_a_moment_ago_is_refused_with_its_reason() {
    let situation = denied(direct(), "page=1");
    let expected = Denial::DeniedByTalkdesk(Arc::new(situation.refusal()));
    assert_eq!(situation.denial(), expected);
}

#[test]
fn a_remembered_denial_ends_with_its_time() {
    let situation = denied(direct(), "page=1").later_by(Duration::from_secs(59));
    assert!(situation.decide().is_err());
    assert!(situation.later_by(Duration::from_secs(1)).decide().is_ok());
}

#[test]
fn another_query_does_not_share_a_remembered_denial() {
    assert!(denied(direct(), "page=1").asking("page=2").decide().is_ok());
}

#[test]
fn another_order_of_the_same_parameters_shares_it() {
    assert!(denied(direct(), "page=1&per_page=5").asking("per_page=5&page=1").decide().is_err());
}

#[test]
fn another_credential_does_not_share_it() {
    let mut situation = denied(direct(), "page=1");
    situation.tenant = organization(acme());
    assert!(situation.decide().is_ok());
}

#[test]
fn tenants_of_one_credential_share_the_denial_of_one_upstream_request() {
    let mut situation = denied(narrowed(), "page=1");
    situation.tenant = organization(acme());
    let situation = situation.asking(&format!("page=1&{}", own_filter_parameter()));
    assert!(matches!(situation.denial(), Denial::DeniedByTalkdesk(_)));
}

// The order of the rules.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Disabled,
    NoClient,
    Plan,
    Scope,
    OrganizationOnly,
    Parameter,
    Filter,
    Account,
    DeniedByTalkdesk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Organization,
    Narrowed,
    Direct,
    Resold,
}

fn code(decision: &Result<Permit, Denial>) -> &'static str {
    match decision {
        Ok(_) => "permitted",
        Err(Denial::TenantDisabled { .. }) => "tenant_disabled",
        Err(Denial::ResellerSold { .. }) => "reseller_sold",
        Err(Denial::NoOauthClient { .. }) => "no_oauth_client",
        Err(Denial::PlanNotEligible { .. }) => "plan_not_eligible",
        Err(Denial::ScopeMissing { .. }) => "scope_missing",
        Err(Denial::OrganizationOnly) => "organization_only",
        Err(Denial::ParameterNotAllowed { .. }) => "parameter_not_allowed",
        Err(Denial::FilterNotUnderstood { .. }) => "filter_not_understood",
        Err(Denial::AccountNotInOrganization { .. }) => "account_not_in_organization",
        Err(Denial::DeniedByTalkdesk(_)) => "denied_by_talkdesk",
    }
}

const fn code_of(fault: Fault) -> &'static str {
    match fault {
        Fault::Disabled => "tenant_disabled",
        Fault::NoClient => "no_oauth_client",
        Fault::Plan => "plan_not_eligible",
        Fault::Scope => "scope_missing",
        Fault::OrganizationOnly => "organization_only",
        Fault::Parameter => "parameter_not_allowed",
        Fault::Filter => "filter_not_understood",
        Fault::Account => "account_not_in_organization",
        Fault::DeniedByTalkdesk => "denied_by_talkdesk",
    }
}

/// A request of such a tenant that has these faults and no other.
fn faulty(kind: Kind, faults: &[Fault]) -> Situation {
    let has = |fault| faults.contains(&fault);
    let owner = if kind == Kind::Organization || kind == Kind::Narrowed {
        "organizations/acme"
    } else {
        "instances/globex"
    };
    let client = (!has(Fault::NoClient)).then(|| credential(owner));
    let partner = Organization { credential: client.clone(), ..listing(&[OWN]) };
    let plan = Some(if has(Fault::Plan) { "Starter" } else { "Enterprise" }.into());
    let mut tenant = match kind {
        Kind::Organization => organization(partner),
        Kind::Narrowed => instance(under(partner)),
        Kind::Direct => instance(Instance { credential: client, plan, ..sold_by_talkdesk() }),
        Kind::Resold => instance(Instance { credential: client, plan, ..sold_by_a_reseller() }),
    };
    Arc::get_mut(&mut tenant).expect("nobody else has it").enabled = !has(Fault::Disabled);
    let named = if has(Fault::Account) { FOREIGN } else { OWN };
    let mut query = canonical_filter(&format!("account_id eq '{named}'"));
    if has(Fault::Filter) {
        query.push_str("&filter=");
    }
    if has(Fault::Parameter) {
        query.push_str("&fields=all");
    }
    let endpoint = documented(if has(Fault::OrganizationOnly) { "accounts" } else { "invoices" });
    let mut situation = Situation::of(tenant).with_plans(&["Enterprise"]).at(&endpoint).asking(&query);
    if has(Fault::Scope) {
        situation = situation.learn_scopes(owner, &["other:read"], Duration::from_mins(10));
    }
    if has(Fault::DeniedByTalkdesk) {
        let path_and_query = format!("{}?{query}", situation.path()).into();
        let credential = credential(owner).key.clone();
        situation = situation.learn_denial(&DeniedRequest { credential, path_and_query });
    }
    situation
}

const OF_AN_ORGANIZATION: &[Fault] =
    &[Fault::Disabled, Fault::NoClient, Fault::Scope, Fault::Account, Fault::DeniedByTalkdesk];
const OF_A_NARROWED_INSTANCE: &[Fault] = &[
    Fault::Disabled,
    Fault::NoClient,
    Fault::Scope,
    Fault::OrganizationOnly,
    Fault::Parameter,
    Fault::Filter,
    Fault::Account,
    Fault::DeniedByTalkdesk,
];
const OF_A_DIRECT_INSTANCE: &[Fault] =
    &[Fault::Disabled, Fault::NoClient, Fault::Plan, Fault::Scope, Fault::Account, Fault::DeniedByTalkdesk];

#[rstest]
#[case::organization(Kind::Organization, OF_AN_ORGANIZATION)]
#[case::narrowed_instance(Kind::Narrowed, OF_A_NARROWED_INSTANCE)]
#[case::direct_instance(Kind::Direct, OF_A_DIRECT_INSTANCE)]
fn each_fault_alone_is_refused_with_its_own_reason(#[case] kind: Kind, #[case] faults: &[Fault]) {
    assert_eq!(code(&faulty(kind, &[]).decide()), "permitted");
    for fault in faults {
        assert_eq!(code(&faulty(kind, &[*fault]).decide()), code_of(*fault));
    }
}

#[rstest]
#[case::organization(Kind::Organization, OF_AN_ORGANIZATION)]
#[case::narrowed_instance(Kind::Narrowed, OF_A_NARROWED_INSTANCE)]
#[case::direct_instance(Kind::Direct, OF_A_DIRECT_INSTANCE)]
fn of_two_faults_the_first_in_the_order_of_the_rules_is_told(#[case] kind: Kind, #[case] faults: &[Fault]) {
    for (place, first) in faults.iter().enumerate() {
        for second in &faults[place + 1..] {
            let decision = faulty(kind, &[*first, *second]).decide();
            assert_eq!(code(&decision), code_of(*first), "{first:?} and {second:?}");
        }
    }
}

#[rstest]
#[case::a_missing_client(Fault::NoClient)]
#[case::a_plan(Fault::Plan)]
#[case::a_scope(Fault::Scope)]
#[case::a_foreign_account(Fault::Account)]
#[case::a_remembered_denial(Fault::DeniedByTalkdesk)]
fn a_resellers_instance_is_told_so_before(#[case] fault: Fault) {
    assert_eq!(code(&faulty(Kind::Resold, &[fault]).decide()), "reseller_sold");
}

#[test]
fn a_foreign_account_before_an_unlisted_parameter_does_not_change_the_order() {
    let foreign = canonical_filter("account_id eq '5ea75fe7aa224700012eae41'");
    for query in [
        format!("{foreign}&fields=all"),
        format!("fields=all&{foreign}"),
        "filter=nonsense&fields=all".to_owned(),
    ] {
        assert_eq!(Situation::of(narrowed()).asking(&query).denial(), parameter_denied("fields"));
    }
}

// Arbitrary queries.

/// Pieces of queries: spellings of names, ids and separators, and anything else.
fn queries() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        6 => prop::sample::select(vec!["filter", "page", "per_page", "order_by", "cursor"]),
        2 => prop::sample::select(vec!["%66ilter", "filte%72", "%70age", "per%5fpage"]),
        1 => prop::sample::select(vec!["Filter", "filter[]", "page;filter", "page%00", "%2566ilter", "account_id", ""]),
    ];
    let piece = prop::sample::select(vec![
        "account_id",
        "month",
        "+eq+",
        "%20ne%20",
        "+in+(",
        "'",
        "%27",
        "''",
        "(",
        ")",
        "+and+",
        "+or+",
        "not+",
        "OR",
        OWN,
        SIBLING,
        "5EA75FE7AA224700012EAE40",
        "'2024-08'",
        "%5C",
        "--",
        "%00",
        "contains(",
        ",",
        "%2527",
    ]);
    let value = prop_oneof![
        4 => prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat()),
        2 => prop::sample::select(vec![OWN, SIBLING, FOREIGN, "", "2"]).prop_map(|id| format!("account_id+eq+'{id}'")),
        2 => Just("month+eq+'2024-08'".to_owned()),
        2 => "[0-9]{1,4}(%26|;|%3B|&|%23|\\?)filter(=|%3D)x",
        2 => "[!-\"$-~]{0,12}",
        2 => "(%[0-9a-fA-F]{2}){0,6}",
    ];
    let parameter = (name, prop_oneof![8 => Just("="), 1 => Just("%3D"), 1 => Just("")], value)
        .prop_map(|(name, equals, value)| format!("{name}{equals}{value}"));
    let joined =
        prop::collection::vec((parameter, prop::sample::select(vec!["&", "&", "&", "&&", ";"])), 0..5)
            .prop_map(|parts| {
                parts.into_iter().map(|(parameter, separator)| parameter + separator).collect()
            });
    prop_oneof![4 => joined, 1 => "\\PC{0,60}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_a_narrowed_instance_asks_it_gets_its_own_account_or_nothing(
        query in queries(),
    ) {
        let situation = Situation::of(narrowed()).asking(&query);
        if let Ok(permit) = situation.decide() {
            let sent = permit.path_and_query().strip_prefix("/express/invoices?").expect("a query").to_owned();
            let is_plain_text = |byte: u8| byte.is_ascii_alphanumeric() || b"=&%_-.~".contains(&byte);
            prop_assert!(sent.bytes().all(is_plain_text), "{sent}");
            let pairs: Vec<(String, String)> = form_urlencoded::parse(sent.as_bytes()).into_owned().collect();
            let filters: Vec<_> = pairs.iter().filter(|(name, _)| name == "filter").collect();
            prop_assert_eq!(filters.len(), 1, "{}", sent);
            let own = format!("account_id eq '{OWN}'");
            let rest = filters[0].1.strip_prefix(&own).expect("its own account first");
            prop_assert!(rest.is_empty() || (rest.starts_with(" and (") && rest.ends_with(')')), "{rest}");
            let mut others = Vec::new();
            let sent_filter = filter::parse(&filters[0].1).expect("a filter");
            sent_filter.compared_values(&|name| name.eq_ignore_ascii_case("account_id"), &mut |value, _| {
                others.extend((!value.eq_ignore_ascii_case(OWN)).then(|| value.to_owned()));
            });
            prop_assert!(others.is_empty(), "{others:?}");
            prop_assert!(pairs.iter().all(|(name, _)| INSTANCE_QUERY_PARAMETERS.contains(&name.as_str())), "{sent}");
            prop_assert_eq!(permit.account_scope().map(|scope| scope.account), Some(account(OWN)));
        }
    }
}
