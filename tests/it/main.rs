//! The proxy as its clients, its operator and Talkdesk see it: real sockets, the real stack, time that is moved
//! and not slept.

#![expect(unreachable_pub, reason = "what the support module offers is for the modules beside it")]

mod access_log;
mod added_endpoints;
mod admin;
mod attacks;
mod audit;
mod authorization;
mod cache;
mod cache_status;
mod canaries;
mod discovery;
mod entitlement;
mod explaining;
mod failures;
mod foreign_accounts;
mod forwarding;
mod hostile_clients;
mod hostile_upstream;
mod isolation;
mod large_answers;
mod limits;
mod listeners;
mod naming;
mod narrowing;
mod online;
mod page_sets;
mod pauses;
mod process;
mod purging;
mod races;
mod reloading;
mod rfc5861;
mod rfc9111;
mod stopping;
mod support;
mod token_failures;
mod tokens;
mod version;
