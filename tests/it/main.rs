//! The proxy as its clients, its operator and Talkdesk see it: real sockets, the real stack, time that is moved
//! and not slept.

#![expect(unreachable_pub, reason = "what the support module offers is for the modules beside it")]

mod support;

mod access_log;
mod admin;
mod attacks;
mod audit;
mod cache;
mod canaries;
mod cache_status;
mod discovery;
mod early;
mod entitlement;
mod explaining;
mod failures;
mod foreign_accounts;
mod forwarding;
mod hostile_clients;
mod hostile_upstream;
mod isolation;
mod limits;
mod listeners;
mod naming;
mod narrowing;
mod online;
mod page_sets;
mod pauses;
mod plain;
mod purging;
mod process;
mod races;
mod reloading;
mod routes;
mod rfc5861;
mod rfc9111;
mod stopping;
mod streams;
mod token_failures;
mod tokens;
mod version;
