//! Leads: people or companies who may buy, before they are an account.
//!
//! A lead is worked by the members it is assigned to, carries comments, files, tags and a history like every record, and
//! leaves the working list when it is converted.

mod board;
mod conversion;
mod follow_up;
mod many;
mod model;
mod moves;
mod pipelines;
mod service;
mod stages;

pub use board::{BOARD_PARAMETERS, LeadBoard, LeadBoardMode, LeadBoardPipeline, LeadColumn, kanban};
pub use conversion::{lock, mark_converted, mark_unconverted};
pub use crm_core::Industry;
pub use follow_up::{FollowUp, LEAD_FILTERS};
pub use many::create_many;
pub use model::{LEADS, Lead, LeadFields, LeadRating, LeadSource, LeadStatus};
pub use moves::{LeadMove, move_card, move_towards};
pub use pipelines::{
    NewPipeline, PIPELINES, Pipeline, PipelineFields, StageOrder, create_pipeline, delete_pipeline,
    find_pipeline, list_pipelines, reorder_stages, update_pipeline,
};
pub use service::{
    Converting, Leads, create, create_towards, delete, describe, find, list, update, update_towards,
};
pub use stages::{
    LeadStage, STAGES, StageFields, StageType, create_stage, delete_stage, find_stage, list_stages,
    update_stage,
};

#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
struct Embedding;
