//! Endpoints: servers that speak HTTP, and requests to them, many at once.
//!
//! The transport knows where a server is ([`Address`], [`EndpointName`]), one exchange ([`Client`]), what can go wrong
//! with it ([`Fault`]), how many may be in flight ([`Gate`]), and a run of many requests over replicas ([`Dispatcher`]).
//! On it stand the [`Protocol`]s by which servers go on from inside a turn, the [`survey`] that proves one of them, and
//! the two engines: [`RemoteEngine`] to be evaluated and [`RemoteChat`] to judge. Blocking, on threads.
//!
//! Keys ([`Secret`]) come from the environment, which the binary reads. They go to the address that they belong to, in
//! one header, and are taken out of whatever comes back. Redirects are not followed.
//!
//! | fault | what is seen | remedy |
//! | --- | --- | --- |
//! | `Busy` | 429 | fewer at once; `Retry-After` rests the replica; no limit of tries |
//! | `Failing` | 408, 5xx but 501 and 505 | again after a wait, 6 tries; 502 and 503 count only when others are answered meanwhile |
//! | `Late` | a deadline passed | again after a wait, 6 tries |
//! | `Unreachable` | no such host, nothing listens, no way there | the replica rests; no limit of tries |
//! | `Broken` | reset, closed early, wrong length, wrong chunks | again after a wait, 6 tries |
//! | `NotHttp` | garbage, a head without end | 3 tries, then the run ends |
//! | `Html` | a page, under any status that is not tried again | 3 tries, then the run ends |
//! | `NotJson` | not JSON, not UTF-8, nothing | 3 tries, then the request is given up |
//! | `Strange` | an error under status 200; what the protocol cannot read | 3 tries, then the request is given up |
//! | `TooLarge` | more bytes than allowed | the request is given up |
//! | `Refused` | other 4xx, 501, 505 | 401, 402, 403, 404, 405 and 407 end the run; else the request is given up |
//! | `Redirected` | 3xx | the run ends and names the address |
//! | `Tls` | no trust, no agreement, plain text | the run ends |
//!
//! A run also ends when nothing is answered for a time, when a server asks to wait for too long, and when requests
//! are given up one after the other with no answer between ([`Patience`]). It then ends with
//! [`crate::Error::Endpoint`], and every request that is open is given back as [`Fault::Stopped`].

mod address;
mod assess;
mod backoff;
mod chat;
mod client;
mod deadlines;
mod dispatcher;
mod engine;
mod fault;
mod framed;
mod gate;
mod http_date;
mod models;
mod protocol;
mod secret;
mod survey;
mod text;
mod trust;

pub use address::{Address, EndpointName, is_address};
pub use chat::RemoteChat;
pub use client::{Client, Connection, Reply, Request, Route};
pub use deadlines::Deadlines;
pub use dispatcher::{Dispatcher, Patience, Source, Tally};
pub use engine::RemoteEngine;
pub use fault::{Deadline, Fault, Remedy};
pub use framed::{FramedTokenizer, template as framed_template};
pub use gate::{Gate, Outcome, Pass};
pub use models::RemoteModel;
pub use protocol::Protocol;
pub use secret::Secret;
pub use survey::{Discovery, Evidence, Kind, PrefillChoice, Seeds, Survey, survey};
pub use text::{ModelText, SharedTokenizer};
pub use trust::trust;
pub use ureq::tls::TlsConfig;
