mod fake;
mod hostile;
mod notifies;
mod parsers;
mod requests;
mod searches;
