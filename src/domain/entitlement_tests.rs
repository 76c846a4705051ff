use std::collections::BTreeSet;

use super::*;
use crate::clock::Clock;
use crate::domain::credential::CredentialKey;
use crate::domain::endpoint::{DOCUMENTED, ForwardedFields, PathPattern};
use crate::domain::id::Scope;
use crate::domain::learned::AccountList;
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

fn walled() -> Arc<Tenant> {
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
    let account = AccountScope { parameter: "account_id".into(), field: "account_id".into() };
    let documented = DOCUMENTED.iter().find(|documented| documented.name == name);
    Arc::new(documented.expect("one of the five").endpoint(&account))
}

fn added(content: Content) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        position: 5,
        name: "reports".into(),
        path: PathPattern::Exact("/reports".into()),
        methods: vec![Method::GET, Method::HEAD, Method::POST],
        scope: None,
        content,
        forward_request_fields: ForwardedFields::Listed(Vec::new()),
    })
}

/// A request of a tenant, and all that decides about it.
struct Situation {
    tenant: Arc<Tenant>,
    endpoint: Arc<Endpoint>,
    method: Method,
    query: Option<String>,
    plain: bool,
    policy: Policy,
    learned: Learned,
    now: Instant,
}

impl Situation {
    /// The tenant asks for its invoices, without a query.
    fn of(tenant: Arc<Tenant>) -> Self {
        let policy = Policy {
            eligible_plans: HashSet::new(),
            instance_query_parameters: ["page", "per_page", "month"].map(Arc::from).into(),
            account_parameter: "account_id".into(),
            accounts_max_age: MAX_AGE,
            remember_denials: Duration::from_mins(1),
        };
        Self {
            tenant,
            endpoint: documented("invoices"),
            method: Method::GET,
            query: None,
            plain: false,
            policy,
            learned: Learned::default(),
            now: Clock::System.now().monotonic,
        }
    }

    fn at(mut self, endpoint: &Arc<Endpoint>) -> Self {
        self.endpoint = Arc::clone(endpoint);
        self
    }

    fn asking(mut self, query: &str) -> Self {
        self.query = Some(query.to_owned());
        self
    }

    fn with_method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    fn plainly(mut self) -> Self {
        self.plain = true;
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
        let ask = Ask {
            endpoint: &self.endpoint,
            method: &self.method,
            path: &path,
            query: self.query.as_deref(),
            plain: self.plain,
        };
        authorize(&self.tenant, &ask, &self.policy, &self.learned, self.now)
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
        let list = AccountList { accounts: accounts.collect(), read_at: self.now };
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
    let situation = Situation::of(direct()).with_method(Method::HEAD);
    let permit = situation.permit();
    assert!(Arc::ptr_eq(permit.tenant(), &situation.tenant));
    assert!(Arc::ptr_eq(permit.endpoint(), &situation.endpoint));
    assert_eq!(permit.method(), Method::HEAD);
    assert_eq!(&**permit.path_and_query(), "/express/invoices");
}

// Which credential.

#[test]
fn an_organization_uses_its_own_credential() {
    assert_eq!(Situation::of(organization(acme())).owner(), "organizations/acme");
}

#[test]
fn an_instance_under_a_configured_organization_uses_the_organizations_credential() {
    assert_eq!(Situation::of(walled()).owner(), "organizations/acme");
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
#[case::walled_instance(walled())]
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
#[case::walled_instance(instance(Instance { plan: Some("Starter".into()), ..under(acme()) }))]
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
#[case::walled_instance(walled())]
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
    assert!(Situation::of(walled()).learn_scopes("organizations/acme", &scopes, life).decide().is_ok());
}

#[test]
fn learned_scopes_deny_nothing_once_their_token_has_ended() {
    let life = Duration::from_mins(10);
    let situation = Situation::of(walled()).learn_scopes("organizations/acme", &["other:read"], life);
    let situation = situation.later_by(life.checked_sub(Duration::from_nanos(1)).expect("a positive time"));
    assert_eq!(situation.denial(), scope_denied(true));
    assert!(situation.later_by(Duration::from_nanos(1)).decide().is_ok());
}

#[test]
fn an_empty_list_of_granted_scopes_never_denies() {
    let life = Duration::from_mins(10);
    let situation = Situation::of(walled()).learn_scopes("organizations/acme", &["other:read"], life);
    assert!(situation.learn_scopes("organizations/acme", &[], life).decide().is_ok());
}

#[test]
fn scopes_that_nobody_told_never_deny() {
    assert!(Situation::of(walled()).decide().is_ok());
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
fn a_walled_instance_may_not_ask_what_cannot_be_narrowed_to_it(#[case] endpoint: Arc<Endpoint>) {
    assert_eq!(Situation::of(walled()).at(&endpoint).denial(), Denial::OrganizationOnly);
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

// The account wall.

#[rstest]
fn a_walled_instance_is_narrowed_to_its_account_by_query_and_by_wall(
    #[values("subscriptions", "invoices", "monthly_usage")] name: &str,
) {
    let endpoint = documented(name);
    let situation = Situation::of(walled()).at(&endpoint);
    assert_eq!(situation.sent(), format!("{}?account_id={OWN}", situation.path()));
    let wall = Wall { field: "account_id".into(), account: account(OWN) };
    assert_eq!(situation.permit().wall(), Some(&wall));
}

#[rstest]
#[case::empty("")]
#[case::separators_alone("&&")]
#[case::once("account_id=5ea75fe7aa224700012eae40")]
#[case::twice("account_id=5ea75fe7aa224700012eae40&account_id=5ea75fe7aa224700012eae40")]
#[case::in_capitals("account_id=5EA75FE7AA224700012EAE40")]
#[case::an_encoded_name("account%5Fid=5ea75fe7aa224700012eae40")]
#[case::an_encoded_name_in_small_digits("%61ccount%5fid=5ea75fe7aa224700012eae40")]
#[case::an_encoded_value("account_id=%35ea75fe7aa224700012eae40")]
fn the_own_account_however_it_is_spelled_goes_upstream_once_in_one_form(#[case] query: &str) {
    let sent = Situation::of(walled()).asking(query).sent();
    assert_eq!(sent, "/express/invoices?account_id=5ea75fe7aa224700012eae40");
}

#[rstest]
#[case::a_sibling("account_id=5ea75fe7aa224700012eae41", SIBLING)]
#[case::own_then_sibling("account_id=5ea75fe7aa224700012eae40&account_id=5ea75fe7aa224700012eae41", SIBLING)]
#[case::sibling_then_own("account_id=5ea75fe7aa224700012eae41&account_id=5ea75fe7aa224700012eae40", SIBLING)]
#[case::an_encoded_name("account%5Fid=5ea75fe7aa224700012eae41", SIBLING)]
#[case::own_then_encoded_sibling(
    "account_id=5ea75fe7aa224700012eae40&account%5Fid=5ea75fe7aa224700012eae41",
    SIBLING
)]
#[case::an_encoded_value("account_id=%35ea75fe7aa224700012eae41", SIBLING)]
#[case::a_list(
    "account_id=5ea75fe7aa224700012eae40,5ea75fe7aa224700012eae41",
    "5ea75fe7aa224700012eae40,5ea75fe7aa224700012eae41"
)]
#[case::empty("account_id=", "")]
#[case::without_a_value("account_id", "")]
#[case::any("account_id=*", "*")]
#[case::with_a_space("account_id=5ea75fe7aa224700012eae40+", "5ea75fe7aa224700012eae40 ")]
#[case::with_a_nul("account_id=5ea75fe7aa224700012eae40%00", "5ea75fe7aa224700012eae40\0")]
#[case::with_a_semicolon(
    "account_id=5ea75fe7aa224700012eae40;account_id=5ea75fe7aa224700012eae41",
    "5ea75fe7aa224700012eae40;account_id=5ea75fe7aa224700012eae41"
)]
fn a_walled_instance_may_name_no_account_but_its_own(#[case] query: &str, #[case] told: &str) {
    assert_eq!(Situation::of(walled()).asking(query).denial(), account_denied(told));
}

#[rstest]
#[case::unknown("fields=all", "fields")]
#[case::another_case("Page=1", "Page")]
#[case::the_account_in_another_case("Account_Id=5ea75fe7aa224700012eae40", "Account_Id")]
#[case::an_array("page[]=1", "page[]")]
#[case::an_array_encoded("page%5B%5D=1", "page[]")]
#[case::an_account_array("account_id[]=5ea75fe7aa224700012eae41", "account_id[]")]
#[case::a_nul("page%00=1", "page\0")]
#[case::a_nul_before("%00account_id=5ea75fe7aa224700012eae41", "\0account_id")]
#[case::a_space("page+=1", "page ")]
#[case::a_space_before("%20page=1", " page")]
#[case::encoded_twice("account%255Fid=5ea75fe7aa224700012eae41", "account%5Fid")]
#[case::an_equals_sign_in_the_name("page%3D1=2", "page=1")]
#[case::a_separator_in_the_name("page%26account_id=5ea75fe7aa224700012eae41", "page&account_id")]
#[case::a_semicolon_in_the_name("page;account_id=5ea75fe7aa224700012eae41", "page;account_id")]
#[case::not_utf_8("p%FFge=1", "p\u{fffd}ge")]
#[case::no_name("=1", "")]
#[case::a_question_mark("?page=1", "?page")]
#[case::after_good_ones("page=1&per_page=5&sort=asc", "sort")]
fn a_walled_instance_may_use_no_parameter_that_is_not_listed(#[case] query: &str, #[case] name: &str) {
    assert_eq!(Situation::of(walled()).asking(query).denial(), parameter_denied(name));
}

#[rstest]
#[case::listed(
    "per_page=50&month=2024-08&page=2",
    "account_id=5ea75fe7aa224700012eae40&month=2024-08&page=2&per_page=50"
)]
#[case::an_encoded_name("%70age=2", "account_id=5ea75fe7aa224700012eae40&page=2")]
#[case::repeated("page=2&page=1", "account_id=5ea75fe7aa224700012eae40&page=2&page=1")]
#[case::without_a_value("page", "account_id=5ea75fe7aa224700012eae40&page=")]
fn listed_parameters_of_a_walled_instance_go_upstream_sorted(#[case] query: &str, #[case] sent: &str) {
    assert_eq!(Situation::of(walled()).asking(query).sent(), format!("/express/invoices?{sent}"));
}

#[rstest]
#[case::an_encoded_separator(
    "page=1%26account_id%3D5ea75fe7aa224700012eae41",
    "1%26account_id%3D5ea75fe7aa224700012eae41"
)]
#[case::a_semicolon(
    "page=1;account_id=5ea75fe7aa224700012eae41",
    "1%3Baccount_id%3D5ea75fe7aa224700012eae41"
)]
#[case::an_encoded_semicolon(
    "page=1%3Baccount_id%3D5ea75fe7aa224700012eae41",
    "1%3Baccount_id%3D5ea75fe7aa224700012eae41"
)]
#[case::a_fragment(
    "page=1%23account_id=5ea75fe7aa224700012eae41",
    "1%23account_id%3D5ea75fe7aa224700012eae41"
)]
#[case::a_line(
    "page=1%0D%0Aaccount_id:%205ea75fe7aa224700012eae41",
    "1%0D%0Aaccount_id%3A+5ea75fe7aa224700012eae41"
)]
#[case::a_second_query(
    "page=1?account_id=5ea75fe7aa224700012eae41",
    "1%3Faccount_id%3D5ea75fe7aa224700012eae41"
)]
fn a_value_cannot_smuggle_an_account_past_the_wall(#[case] query: &str, #[case] value: &str) {
    let sent = Situation::of(walled()).asking(query).sent();
    assert_eq!(sent, format!("/express/invoices?account_id={OWN}&page={value}"));
}

#[test]
fn a_plain_rule_takes_nothing_off_the_wall() {
    let situation = Situation::of(walled()).plainly();
    assert_eq!(situation.sent(), format!("/express/invoices?account_id={OWN}"));
    let foreign = situation.asking("account_id=5ea75fe7aa224700012eae41");
    assert_eq!(foreign.denial(), account_denied(SIBLING));
}

#[test]
fn an_added_endpoint_is_walled_by_its_own_parameter_and_field() {
    let scope = AccountScope { parameter: "tenant".into(), field: "owner".into() };
    let situation = Situation::of(walled()).at(&added(Content::Records(scope)));
    assert_eq!(situation.sent(), format!("/reports?tenant={OWN}"));
    let wall = Wall { field: "owner".into(), account: account(OWN) };
    assert_eq!(situation.permit().wall(), Some(&wall));
    let foreign = situation.asking("tenant=5ea75fe7aa224700012eae41");
    assert_eq!(foreign.denial(), account_denied(SIBLING));
    let other = foreign.asking("account_id=5ea75fe7aa224700012eae40");
    assert_eq!(other.denial(), parameter_denied("account_id"));
}

#[test]
fn listing_the_account_parameter_as_allowed_opens_nothing() {
    let mut situation = Situation::of(walled()).asking("account_id=5ea75fe7aa224700012eae41");
    situation.policy.instance_query_parameters.insert("account_id".into());
    assert_eq!(situation.denial(), account_denied(SIBLING));
    assert_eq!(situation.asking("").sent(), format!("/express/invoices?account_id={OWN}"));
}

#[rstest]
#[case::without_a_query(None, "/express/products")]
#[case::own_account_left_out(Some("account_id=5ea75fe7aa224700012eae40"), "/express/products")]
#[case::pages(Some("page=2&account_id=5ea75fe7aa224700012eae40"), "/express/products?page=2")]
fn a_walled_instance_gets_the_catalogue_as_it_is(#[case] query: Option<&str>, #[case] sent: &str) {
    let mut situation = Situation::of(walled()).at(&documented("products"));
    situation.query = query.map(str::to_owned);
    assert_eq!(situation.sent(), sent);
    assert_eq!(situation.permit().wall(), None);
}

#[rstest]
#[case::a_sibling("account_id=5ea75fe7aa224700012eae41", account_denied(SIBLING))]
#[case::not_listed("fields=all", parameter_denied("fields"))]
fn the_catalogue_is_no_way_around_the_parameters(#[case] query: &str, #[case] denial: Denial) {
    assert_eq!(Situation::of(walled()).at(&documented("products")).asking(query).denial(), denial);
}

#[rstest]
#[case::organization(organization(acme()))]
#[case::direct_instance(direct())]
fn who_uses_a_credential_of_its_own_has_no_wall_and_any_parameter(#[case] tenant: Arc<Tenant>) {
    let situation = Situation::of(tenant).asking("fields=all");
    assert_eq!(situation.sent(), "/express/invoices?fields=all");
    assert_eq!(situation.permit().wall(), None);
}

// Accounts that an Organization names.

fn naming(partner: Organization, named: &str) -> Situation {
    Situation::of(organization(partner)).asking(&format!("account_id={named}"))
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
    assert_eq!(situation.sent(), format!("/express/invoices?account_id={SIBLING}"));
    assert!(situation.permit().reread_accounts().is_none());
}

#[rstest]
#[case::another("account_id=5ea75fe7aa224700012eae42", FOREIGN)]
#[case::an_encoded_name("account%5Fid=5ea75fe7aa224700012eae42", FOREIGN)]
#[case::an_encoded_value("account_id=%35ea75fe7aa224700012eae42", FOREIGN)]
#[case::after_one_of_its_own(
    "account_id=5ea75fe7aa224700012eae40&account_id=5ea75fe7aa224700012eae42",
    FOREIGN
)]
#[case::before_one_of_its_own(
    "account_id=5ea75fe7aa224700012eae42&account_id=5ea75fe7aa224700012eae40",
    FOREIGN
)]
#[case::no_id("account_id=globex", "globex")]
#[case::empty("account_id=", "")]
fn a_list_of_accounts_without_discovery_is_closed(#[case] query: &str, #[case] told: &str) {
    let situation = Situation::of(organization(listing(&[OWN, SIBLING]))).asking(query);
    assert_eq!(situation.denial(), account_denied(told));
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
fn an_added_endpoint_names_accounts_by_its_own_parameter() {
    let scope = AccountScope { parameter: "tenant".into(), field: "owner".into() };
    let situation = Situation::of(organization(listing(&[OWN]))).at(&added(Content::Records(scope)));
    let situation = situation.asking("tenant=5ea75fe7aa224700012eae42");
    assert_eq!(situation.denial(), account_denied(FOREIGN));
}

#[rstest]
fn a_foreign_account_is_refused_on_every_endpoint(
    #[values("accounts", "products", "subscriptions", "invoices", "monthly_usage")] name: &str,
    #[values(organization(listing(&[OWN])), direct())] tenant: Arc<Tenant>,
) {
    let situation = Situation::of(tenant).at(&documented(name)).asking(&format!("account_id={FOREIGN}"));
    assert_eq!(situation.denial(), account_denied(FOREIGN));
}

// Accounts that a direct Instance names.

#[rstest]
#[case::another("account_id=5ea75fe7aa224700012eae42", FOREIGN)]
#[case::an_encoded_name("account%5Fid=5ea75fe7aa224700012eae42", FOREIGN)]
#[case::after_its_own("account_id=5ea75fe7aa224700012eae40&account_id=5ea75fe7aa224700012eae42", FOREIGN)]
#[case::no_id("account_id=", "")]
fn a_direct_instance_may_not_name_another_account(#[case] query: &str, #[case] told: &str) {
    assert_eq!(Situation::of(direct()).asking(query).denial(), account_denied(told));
}

#[test]
fn a_direct_instance_may_name_its_own_account() {
    let situation = Situation::of(direct()).asking("account_id=5EA75FE7AA224700012EAE40");
    assert_eq!(situation.sent(), "/express/invoices?account_id=5EA75FE7AA224700012EAE40");
}

#[test]
fn for_a_direct_instance_of_unknown_id_upstream_decides() {
    let tenant = instance(Instance { account_id: None, ..sold_by_talkdesk() });
    assert!(Situation::of(tenant).asking("account_id=5ea75fe7aa224700012eae42").decide().is_ok());
}

// The query as it goes upstream.

#[rstest]
#[case::organization(organization(acme()))]
#[case::direct_instance(direct())]
fn parameters_go_upstream_sorted_by_name_and_stable_among_equal_names(#[case] tenant: Arc<Tenant>) {
    let situation = Situation::of(tenant).asking("per_page=9&a=2&&page=1&a=1&%62=%20");
    assert_eq!(situation.sent(), "/express/invoices?a=2&a=1&%62=%20&page=1&per_page=9");
}

#[rstest]
#[case::organization(organization(acme()))]
#[case::direct_instance(direct())]
fn under_a_plain_rule_the_query_goes_upstream_as_received(#[case] tenant: Arc<Tenant>) {
    let query = "per_page=9&a=2&&page=1&a=1&%62=%20";
    assert_eq!(Situation::of(tenant).asking(query).plainly().sent(), format!("/express/invoices?{query}"));
}

#[rstest]
#[case::sorted(false, "/express/invoices")]
#[case::plain(true, "/express/invoices?")]
fn an_empty_query_is_none_but_under_a_plain_rule(#[case] plain: bool, #[case] sent: &str) {
    let mut situation = Situation::of(direct()).asking("");
    situation.plain = plain;
    assert_eq!(situation.sent(), sent);
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

#[rstest]
#[case::get_then_head(Method::GET, Method::HEAD)]
#[case::head_then_get(Method::HEAD, Method::GET)]
fn head_and_get_share_a_remembered_denial(#[case] first: Method, #[case] second: Method) {
    let situation = Situation::of(direct()).with_method(first);
    let request = situation.permit().as_denied_request();
    assert!(situation.learn_denial(&request).with_method(second).decide().is_err());
}

#[test]
fn another_method_does_not_share_it() {
    let situation = Situation::of(direct()).at(&added(Content::Opaque)).with_method(Method::POST);
    let request = situation.permit().as_denied_request();
    assert!(situation.learn_denial(&request).with_method(Method::GET).decide().is_ok());
}

#[test]
fn a_plain_request_ignores_a_remembered_denial() {
    assert!(denied(direct(), "page=1").plainly().decide().is_ok());
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
    let mut situation = denied(walled(), "page=1");
    situation.tenant = organization(acme());
    let situation = situation.asking("page=1&account_id=5ea75fe7aa224700012eae40");
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
    Account,
    DeniedByTalkdesk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Organization,
    Walled,
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
        Fault::Account => "account_not_in_organization",
        Fault::DeniedByTalkdesk => "denied_by_talkdesk",
    }
}

/// A request of such a tenant that has these faults and no other.
fn faulty(kind: Kind, faults: &[Fault]) -> Situation {
    let has = |fault| faults.contains(&fault);
    let owner = if kind == Kind::Organization || kind == Kind::Walled {
        "organizations/acme"
    } else {
        "instances/globex"
    };
    let client = (!has(Fault::NoClient)).then(|| credential(owner));
    let partner = Organization { credential: client.clone(), ..listing(&[OWN]) };
    let plan = Some(if has(Fault::Plan) { "Starter" } else { "Enterprise" }.into());
    let mut tenant = match kind {
        Kind::Organization => organization(partner),
        Kind::Walled => instance(under(partner)),
        Kind::Direct => instance(Instance { credential: client, plan, ..sold_by_talkdesk() }),
        Kind::Resold => instance(Instance { credential: client, plan, ..sold_by_a_reseller() }),
    };
    Arc::get_mut(&mut tenant).expect("nobody else has it").enabled = !has(Fault::Disabled);
    let named = if has(Fault::Account) { FOREIGN } else { OWN };
    let mut query = format!("account_id={named}");
    if has(Fault::Parameter) {
        query.push_str("&fields=all");
    }
    let endpoint = documented(if has(Fault::OrganizationOnly) { "accounts" } else { "invoices" });
    let mut situation = Situation::of(tenant).with_plans(&["Enterprise"]).at(&endpoint).asking(&query);
    if has(Fault::Scope) {
        situation = situation.learn_scopes(owner, &["other:read"], Duration::from_mins(10));
    }
    if has(Fault::DeniedByTalkdesk) {
        let request = format!("GET {}?{query}", situation.path()).into();
        situation =
            situation.learn_denial(&DeniedRequest { credential: credential(owner).key.clone(), request });
    }
    situation
}

const OF_AN_ORGANIZATION: &[Fault] =
    &[Fault::Disabled, Fault::NoClient, Fault::Scope, Fault::Account, Fault::DeniedByTalkdesk];
const OF_A_WALLED_INSTANCE: &[Fault] = &[
    Fault::Disabled,
    Fault::NoClient,
    Fault::Scope,
    Fault::OrganizationOnly,
    Fault::Parameter,
    Fault::Account,
    Fault::DeniedByTalkdesk,
];
const OF_A_DIRECT_INSTANCE: &[Fault] =
    &[Fault::Disabled, Fault::NoClient, Fault::Plan, Fault::Scope, Fault::Account, Fault::DeniedByTalkdesk];

#[rstest]
#[case::organization(Kind::Organization, OF_AN_ORGANIZATION)]
#[case::walled_instance(Kind::Walled, OF_A_WALLED_INSTANCE)]
#[case::direct_instance(Kind::Direct, OF_A_DIRECT_INSTANCE)]
fn each_fault_alone_is_refused_with_its_own_reason(#[case] kind: Kind, #[case] faults: &[Fault]) {
    assert_eq!(code(&faulty(kind, &[]).decide()), "permitted");
    for fault in faults {
        assert_eq!(code(&faulty(kind, &[*fault]).decide()), code_of(*fault));
    }
}

#[rstest]
#[case::organization(Kind::Organization, OF_AN_ORGANIZATION)]
#[case::walled_instance(Kind::Walled, OF_A_WALLED_INSTANCE)]
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
    for query in
        ["account_id=5ea75fe7aa224700012eae41&fields=all", "fields=all&account_id=5ea75fe7aa224700012eae41"]
    {
        assert_eq!(Situation::of(walled()).asking(query).denial(), parameter_denied("fields"));
    }
}

// Arbitrary queries.

/// Pieces of queries: spellings of names, ids and separators, and anything else.
fn queries() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        6 => prop::sample::select(vec!["account_id", "page", "per_page", "month"]),
        2 => prop::sample::select(vec!["account%5Fid", "%61ccount_id", "%70age", "per%5fpage"]),
        1 => prop::sample::select(vec![
            "Account_Id", "account_id[]", "page;account_id", "page%00", "account%255Fid", "fields", "",
        ]),
    ];
    let value = prop_oneof![
        6 => prop::sample::select(vec![OWN, "5EA75FE7AA224700012EAE40", "%35ea75fe7aa224700012eae40"])
            .prop_map(str::to_owned),
        1 => prop::sample::select(vec![SIBLING, FOREIGN, ""]).prop_map(str::to_owned),
        2 => "[0-9]{1,4}(%26|;|%3B|&|%23|\\?)account_id(=|%3D)5ea75fe7aa224700012eae4[0-2]",
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
    fn whatever_a_walled_instance_asks_it_gets_its_own_account_or_nothing(
        query in queries(),
        plain in any::<bool>(),
    ) {
        let mut situation = Situation::of(walled()).asking(&query);
        situation.plain = plain;
        if let Ok(permit) = situation.decide() {
            let sent = permit.path_and_query().strip_prefix("/express/invoices?").expect("a query").to_owned();
            let is_plain_text = |byte: u8| byte.is_ascii_alphanumeric() || b"=&%+_-.*".contains(&byte);
            prop_assert!(sent.bytes().all(is_plain_text), "{sent}");
            let pairs: Vec<(String, String)> = form_urlencoded::parse(sent.as_bytes()).into_owned().collect();
            let accounts: Vec<_> = pairs.iter().filter(|(name, _)| name == "account_id").collect();
            prop_assert_eq!(accounts.len(), 1, "{}", sent);
            prop_assert_eq!(accounts[0].1.as_str(), OWN);
            let allowed = ["account_id", "page", "per_page", "month"];
            prop_assert!(pairs.iter().all(|(name, _)| allowed.contains(&name.as_str())), "{sent}");
            prop_assert_eq!(permit.wall().map(|wall| wall.account), Some(account(OWN)));
        }
    }

    /// Where a request leads is remembered for as long as nothing new is learned, whatever the time.
    #[test]
    fn time_alone_takes_no_permit_away_and_changes_no_denial_that_lasts(
        kind in prop::sample::select(vec![Kind::Organization, Kind::Walled, Kind::Direct]),
        query in queries(),
        discovers in any::<bool>(),
        scope in prop::sample::select(vec!["express-accounts-invoices:read", "other:read"]),
        scope_lives in 0..1000_u64,
        listed in prop::sample::subsequence(vec![OWN, SIBLING], 0..=2),
        denied in any::<bool>(),
        waits in prop::collection::vec(0..10_000_u64, 1..4),
    ) {
        let mut situation = faulty(kind, &[]).asking(&query);
        if discovers && kind == Kind::Organization {
            situation.tenant = organization(Organization { discover_accounts: true, ..acme() });
            situation = situation.learn_accounts(&listed);
        }
        let owner = if kind == Kind::Direct { "instances/globex" } else { "organizations/acme" };
        situation = situation.learn_scopes(owner, &[scope], Duration::from_secs(scope_lives));
        if denied {
            let request = format!("GET {}?account_id={OWN}", situation.path()).into();
            situation =
                situation.learn_denial(&DeniedRequest { credential: credential(owner).key.clone(), request });
        }
        let mut decided: Option<String> = None;
        for wait in std::iter::once(0).chain(waits) {
            situation = situation.later_by(Duration::from_secs(wait));
            let decision = situation.decide();
            let stands = match &decision {
                Ok(permit) => permit.reread_accounts().is_none(),
                Err(denial) => denial.lasts(),
            };
            if let Some(before) = &decided {
                prop_assert_eq!(before, &format!("{decision:?}"), "after {} s", wait);
            } else if stands {
                decided = Some(format!("{decision:?}"));
            }
        }
    }
}
