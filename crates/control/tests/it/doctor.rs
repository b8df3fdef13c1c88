//! The doctor over the API.

use kith_control::{ClientError, DoctorRequest, FailureKind};

use crate::harness::{Ask, start, start_with};
use crate::stand_in::{diagnoses, rich};

#[tokio::test]
async fn a_diagnosis_comes_through_the_api_as_it_was_made() {
    for name in diagnoses::ALL {
        let mut state = rich();
        state.diagnosis = diagnoses::named(name);
        let running = start_with(state).await;
        let request = DoctorRequest { friend: Some("Anna".to_owned()), ..DoctorRequest::default() };
        let diagnosis = running.client().await.doctor(&request).await.unwrap();
        assert_eq!(diagnosis, diagnoses::named(name), "{name}");
        running.stop().await;
    }
}

#[tokio::test]
async fn the_fields_of_a_diagnosis_are_those_of_the_contract() {
    let mut state = rich();
    state.diagnosis = diagnoses::firewall_in_there();
    let running = start_with(state).await;
    let body = r#"{"friend": "Anna", "with": ""}"#;
    let answer =
        Ask::new("POST", running.api(), "/v1/doctor").token(&running.token()).json(body).send().await;
    let diagnosis = answer.json();
    assert_eq!(diagnosis["verdict"]["code"], "firewall-in");
    assert_eq!(diagnosis["verdict"]["part"], "firewall-there");
    assert_eq!(diagnosis["verdict"]["subject"], "the firewall of Anna’s computer");
    assert!(diagnosis["verdict"]["next_step"].as_str().unwrap().contains("ufw allow"));
    let failed = diagnosis["checks"].as_array().unwrap().iter().find(|check| check["outcome"] == "failed");
    assert_eq!(failed.unwrap()["code"], "firewall-in");
    assert_eq!(
        (&diagnosis["outward"]["state"], &diagnosis["inward"]["state"]),
        (&"closed".into(), &"open".into())
    );
    assert_eq!(running.backend.calls(), [r#"doctor Some("Anna") with None"#]);
    running.stop().await;
}

#[tokio::test]
async fn without_a_friend_this_computer_alone_is_looked_at() {
    let running = start().await;
    let diagnosis = running.client().await.doctor(&DoctorRequest::default()).await.unwrap();
    assert_eq!((diagnosis.friend, diagnosis.way.len()), (None, 4));
    running.stop().await;
}

#[tokio::test]
async fn a_report_code_goes_there_and_comes_back() {
    let running = start().await;
    let client = running.client().await;
    let view = client.report_code(Some("Anna".to_owned())).await.unwrap();
    assert!(view.code.starts_with("kith-report:"));
    let request = DoctorRequest { friend: Some("Anna".to_owned()), with: Some(view.code), firewall: None };
    assert_eq!(client.doctor(&request).await.unwrap().told_by.as_deref(), Some("code"));

    let request =
        DoctorRequest { friend: Some("Anna".to_owned()), with: Some("hello".to_owned()), firewall: None };
    let Err(ClientError::Failure(failure)) = client.doctor(&request).await else { panic!("it was taken") };
    assert_eq!(failure.kind, FailureKind::Invalid);
    running.stop().await;
}

#[tokio::test]
async fn a_report_code_of_any_length_is_not_handed_on() {
    let running = start().await;
    let request = DoctorRequest { friend: None, with: Some("kith-report:".repeat(10_000)), firewall: None };
    let Err(ClientError::Failure(failure)) = running.client().await.doctor(&request).await else {
        panic!("it was taken")
    };
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(running.backend.calls().is_empty());
    running.stop().await;
}
