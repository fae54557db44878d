//! Queries of the Nexmark benchmark: an auction house with persons, auctions and bids.

mod averages;
mod event;
mod highest;
mod local_items;
mod new_users;
mod single;
mod winners;

wasmill_sdk::export! {
    "events" => map single::Events,
    "persons" => flat_map single::Persons,
    "auctions" => flat_map single::Auctions,
    "bids" => flat_map single::Bids,
    "in-euros" => map single::InEuros,
    "selected" => flat_map single::Selected,
    "from-states" => filter local_items::FromStates,
    "in-category" => filter local_items::InCategory,
    "local-items" => keyed_co_process local_items::LocalItems,
    "winning-bids" => keyed_co_process winners::WinningBids,
    "average-of-category" => process averages::OfCategory,
    "average-of-seller" => process averages::OfSeller,
    "hottest" => process highest::Hottest,
    "highest" => aggregate highest::Highest,
    "of-window" => window highest::OfWindow,
    "new-sellers" => co_group new_users::NewSellers,
}
