mod digests;
mod feeds;
mod lives;
mod producers;
mod readers;
mod support;
