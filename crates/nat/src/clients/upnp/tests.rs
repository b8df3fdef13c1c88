mod fake;
mod hostile;
mod parsers;
mod requests;
mod searches;
