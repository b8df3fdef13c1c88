//! Actions and answers as XML.

use super::script::{Description, ErrorText};
use crate::lab::IgdVersion;

/// Bytes before what matters in a huge description.
const HUGE: usize = 10_000_000;

/// The name and the arguments of an action.
pub(super) fn parse(header: &str, body: &str) -> (String, Vec<(String, String)>) {
    let action = header.trim_matches('"').rsplit('#').next().unwrap_or_default().to_owned();
    let mut arguments = Vec::new();
    let mut rest = body;
    while let Some(begin) = rest.find("<New") {
        rest = &rest[begin + 1..];
        let Some(end) = rest.find('>') else { break };
        let name = rest[..end].split_whitespace().next().unwrap_or_default();
        let empty = name.ends_with('/') || rest[..end].ends_with('/');
        let name = name.trim_end_matches('/').to_owned();
        rest = &rest[end + 1..];
        let value = if empty { "" } else { rest.split('<').next().unwrap_or_default() };
        arguments.push((name, value.trim().to_owned()));
    }
    (action, arguments)
}

/// The service that the router offers.
const fn service(version: IgdVersion) -> &'static str {
    match version {
        IgdVersion::One => "urn:schemas-upnp-org:service:WANIPConnection:1",
        IgdVersion::Two => "urn:schemas-upnp-org:service:WANIPConnection:2",
    }
}

/// The answer to an action that was done.
pub(super) fn done(version: IgdVersion, action: &str, results: &[(&str, String)]) -> String {
    let results: String = results.iter().map(|(name, value)| format!("<{name}>{value}</{name}>")).collect();
    envelope(&format!("<u:{action}Response xmlns:u=\"{}\">{results}</u:{action}Response>", service(version)))
}

/// The answer to an action that was refused.
pub(super) fn refused(code: u16, text: ErrorText) -> String {
    let text = match text {
        ErrorText::Usual => format!("<errorDescription>{}</errorDescription>", words(code)),
        ErrorText::Empty => "<errorDescription></errorDescription>".to_owned(),
        ErrorText::Missing => String::new(),
    };
    envelope(&format!(
        "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail><UPnPError \
         xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>{code}</errorCode>{text}</UPnPError></detail></s:Fault>"
    ))
}

fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>{body}</s:Body></s:Envelope>\r\n"
    )
}

/// The standard's names of errors.
const fn words(code: u16) -> &'static str {
    match code {
        401 => "Invalid Action",
        402 => "Invalid Args",
        501 => "Action Failed",
        606 => "Action not authorized",
        713 => "SpecifiedArrayIndexInvalid",
        714 => "NoSuchEntryInArray",
        718 => "ConflictInMappingEntry",
        724 => "SamePortValuesRequired",
        725 => "OnlyPermanentLeasesSupported",
        728 => "NoPortMapsAvailable",
        _ => "Error",
    }
}

/// The description of the device, with its fault.
pub(super) fn description(version: IgdVersion, kind: Description) -> Vec<u8> {
    let number = if version == IgdVersion::One { 1 } else { 2 };
    let (before, name) = match kind {
        Description::Garbage => return (0..2000_u32).map(|i| i.wrapping_mul(179).to_le_bytes()[0]).collect(),
        Description::Huge => (format!("<!-- {} -->", "x".repeat(HUGE)), "Fake".to_owned()),
        Description::EntityBomb => (bomb(), "&j;".to_owned()),
        _ => (String::new(), "Fake".to_owned()),
    };
    let service = service(version);
    let common = "urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1";
    let device = |kind: &str| format!("urn:schemas-upnp-org:device:{kind}:{number}");
    format!(
        "<?xml version=\"1.0\"?>\r\n{before}<root xmlns=\"urn:schemas-upnp-org:device-1-0\"><specVersion><major>1</major>\
         <minor>1</minor></specVersion><device><deviceType>{gateway}</deviceType><friendlyName>{name}</friendlyName>\
         <manufacturer>Lab</manufacturer><modelName>Fake router</modelName><modelNumber>1</modelNumber>\
         <UDN>uuid:00000000-0000-4000-8000-00000000fa4e</UDN><deviceList><device><deviceType>{wan}</deviceType>\
         <friendlyName>WANDevice</friendlyName><UDN>uuid:00000000-0000-4000-8000-00000000fa4f</UDN><serviceList><service>\
         <serviceType>{common}</serviceType><serviceId>urn:upnp-org:serviceId:WANCommonIFC1</serviceId>\
         <controlURL>/common</controlURL><eventSubURL>/events</eventSubURL><SCPDURL>/common.xml</SCPDURL></service>\
         </serviceList><deviceList><device><deviceType>{connection}</deviceType><friendlyName>WANConnectionDevice</friendlyName>\
         <UDN>uuid:00000000-0000-4000-8000-00000000fa50</UDN><serviceList><service><serviceType>{service}</serviceType>\
         <serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId><controlURL>/control</controlURL>\
         <eventSubURL>/events</eventSubURL><SCPDURL>/connection.xml</SCPDURL></service></serviceList></device></deviceList>\
         </device></deviceList></device></root>\r\n",
        gateway = device("InternetGatewayDevice"),
        wan = device("WANDevice"),
        connection = device("WANConnectionDevice"),
    )
    .into_bytes()
}

/// The description of what a service can do: igd-style clients look up the actions and their arguments in it.
pub(super) fn actions(version: IgdVersion, read_back: bool) -> String {
    let mut list: Vec<(&str, &[&str])> = vec![
        ("GetExternalIPAddress", &[]),
        ("AddPortMapping", MAPPING),
        ("DeletePortMapping", &["NewRemoteHost", "NewExternalPort", "NewProtocol"]),
        ("GetGenericPortMappingEntry", &["NewPortMappingIndex"]),
    ];
    if version == IgdVersion::Two {
        list.push(("AddAnyPortMapping", MAPPING));
    }
    if read_back {
        list.push(("GetSpecificPortMappingEntry", &["NewRemoteHost", "NewExternalPort", "NewProtocol"]));
    }
    let actions: String = list
        .iter()
        .map(|(name, arguments)| {
            let arguments: String = arguments
                .iter()
                .map(|argument| {
                    let variable = argument.trim_start_matches("New");
                    format!(
                        "<argument><name>{argument}</name><direction>in</direction>\
                         <relatedStateVariable>{variable}</relatedStateVariable></argument>"
                    )
                })
                .collect();
            format!("<action><name>{name}</name><argumentList>{arguments}</argumentList></action>")
        })
        .collect();
    format!(
        "<?xml version=\"1.0\"?>\r\n<scpd xmlns=\"urn:schemas-upnp-org:service-1-0\"><specVersion><major>1</major>\
         <minor>0</minor></specVersion><actionList>{actions}</actionList></scpd>\r\n"
    )
}

const MAPPING: &[&str] = &[
    "NewRemoteHost",
    "NewExternalPort",
    "NewProtocol",
    "NewInternalPort",
    "NewInternalClient",
    "NewEnabled",
    "NewPortMappingDescription",
    "NewLeaseDuration",
];

/// Ten levels of ten references each.
fn bomb() -> String {
    let levels: String = ('b'..='j')
        .zip('a'..)
        .map(|(name, inner)| format!("<!ENTITY {name} \"{}\">", format!("&{inner};").repeat(10)))
        .collect();
    format!("<!DOCTYPE root [<!ENTITY a \"aaaaaaaaaa\">{levels}]>")
}
