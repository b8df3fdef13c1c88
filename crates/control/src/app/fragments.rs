//! The sections of the page, by name.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;

use super::{activity, computer, doctor, forms, friends, jobs, near, network, sets, settings, verdict};
use crate::backend::FailureKind;
use crate::request::DoctorRequest;
use crate::server::{JsonBody, Query, Refusal, Segment, Shared, examined};
use crate::view::{SetView, StatusView};

/// A part of the page that is fetched on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Could I recover today? And what to do next.
    Verdict,
    /// What runs now.
    Jobs,
    Friends,
    /// Computers nearby.
    Near,
    Sets,
    Computer,
    /// What ran before.
    Activity,
    /// The network page.
    Network,
    /// Whom the doctor can look at.
    Doctor,
    /// What the doctor's codes mean.
    Explain,
    /// The options page.
    Settings,
    /// The form for a new set.
    SetForm,
    /// The form for an invite.
    InviteForm,
    /// The form for changing a friend.
    FriendForm,
}

impl Section {
    /// What the first page consists of.
    pub(super) const OVERVIEW: [Self; 7] =
        [Self::Verdict, Self::Jobs, Self::Friends, Self::Near, Self::Sets, Self::Computer, Self::Activity];

    const ALL: [Self; 14] = [
        Self::Verdict,
        Self::Jobs,
        Self::Friends,
        Self::Near,
        Self::Sets,
        Self::Computer,
        Self::Activity,
        Self::Network,
        Self::Doctor,
        Self::Explain,
        Self::Settings,
        Self::SetForm,
        Self::InviteForm,
        Self::FriendForm,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Jobs => "jobs",
            Self::Friends => "friends",
            Self::Near => "near",
            Self::Sets => "sets",
            Self::Computer => "computer",
            Self::Activity => "activity",
            Self::Network => "network",
            Self::Doctor => "doctor",
            Self::Explain => "explain",
            Self::Settings => "settings",
            Self::SetForm => "set-form",
            Self::InviteForm => "invite-form",
            Self::FriendForm => "friend-form",
        }
    }
}

/// What most sections are made of.
pub(super) struct Facts {
    pub(super) status: StatusView,
    pub(super) sets: Vec<SetView>,
    pub(super) now: Timestamp,
}

/// What a part of the page is about: the friend of a form, the code of an explanation.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct About {
    friend: String,
    code: String,
}

pub(super) async fn fragment(
    State(kith): State<Arc<Shared>>,
    Segment(name): Segment<String>,
    Query(about): Query<About>,
) -> Result<Response, Refusal> {
    let section = Section::ALL.into_iter().find(|section| section.name() == name).ok_or_else(|| {
        Refusal::new(StatusCode::NOT_FOUND, FailureKind::NotFound, "there is no such part of the page")
    })?;
    Ok(page(&render(&kith, section, &about).await?))
}

/// Looks at the way to a friend, or at this computer alone, and shows what it comes to. What could not be looked at is shown, too.
pub(super) async fn diagnosis(
    State(kith): State<Arc<Shared>>,
    JsonBody(request): JsonBody<DoctorRequest>,
) -> Response {
    let friend = request.friend.clone();
    // A page of a browser has read no rules.
    let request = DoctorRequest { firewall: None, ..request };
    let markup = match examined(&kith, request).await {
        Ok(diagnosis) => {
            let status = kith.backend.status().await;
            let friend =
                friend.and_then(|id| status.friends.iter().find(|friend| friend.device_id.to_string() == id));
            doctor::section(&diagnosis, &status, friend, Timestamp::now())
        }
        Err(refusal) => doctor::failed(&refusal.failure),
    };
    page(&markup)
}

fn page(markup: &Markup) -> Response {
    let document = html! { (DOCTYPE) body { (markup) } };
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], document.into_string()).into_response()
}

async fn render(kith: &Shared, section: Section, about: &About) -> Result<Markup, Refusal> {
    let backend = &kith.backend;
    let now = Timestamp::now();
    if section == Section::Settings {
        return Ok(settings::section(&backend.settings().await?));
    }
    if section == Section::Activity {
        return Ok(activity::section(&backend.jobs().await?, now));
    }
    if section == Section::Network {
        let (ports, firewall) = (backend.ports().await?, backend.firewall().await?);
        return Ok(network::section(&backend.status().await, &ports, &firewall, now));
    }
    if section == Section::Doctor {
        return Ok(doctor::chooser(&backend.friends().await));
    }
    if section == Section::Explain {
        return Ok(doctor::explain(&about.code));
    }
    if section == Section::Near {
        return Ok(near::section(&backend.near().await, now));
    }
    let facts = Facts { status: backend.status().await, sets: backend.sets().await?, now };
    Ok(match section {
        Section::Verdict => verdict::section(&facts),
        Section::Jobs => jobs::section(&facts),
        Section::Friends => friends::section(&facts),
        Section::Sets => sets::section(&facts, &backend.jobs().await?),
        Section::Computer => computer::section(&facts),
        Section::SetForm => forms::new_set(&facts),
        Section::InviteForm => forms::invite(),
        Section::FriendForm => {
            let id = about.friend.as_str();
            let friend = facts.status.friends.iter().find(|friend| friend.device_id.to_string() == id);
            let friend = friend.ok_or_else(|| {
                Refusal::new(StatusCode::NOT_FOUND, FailureKind::NotFound, "there is no such friend any more")
            })?;
            forms::friend(friend)
        }
        Section::Activity
        | Section::Near
        | Section::Network
        | Section::Doctor
        | Section::Explain
        | Section::Settings => html! {},
    })
}
