//! What happens on the site: each value of an event is a function of the event's number.

use crate::numbered::{mix, unit};
use std::sync::OnceLock;

/// The kinds of events, numbered as in the column `event_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Person = 0,
    Auction = 1,
    Bid = 2,
}

/// Average sizes of events in bytes.
pub(super) struct Sizes {
    pub person: usize,
    pub auction: usize,
    pub bid: usize,
}

/// The site. Events come in rounds of `people`, then `auctions`, then `bids`.
pub(super) struct Site {
    pub seed: u64,
    pub people: u64,
    pub auctions: u64,
    pub bids: u64,
    /// One in so many bids is in an auction that is not hot.
    pub hot_auctions: u64,
    /// One in so many bids is of a person who is not hot.
    pub hot_bidders: u64,
    /// One in so many auctions is of a person who is not hot.
    pub hot_sellers: u64,
    pub sizes: Sizes,
    /// The time of the first event, in milliseconds since 1970.
    pub base_time: i64,
    /// Events per second.
    pub rate: u64,
    /// The channels through which bids come, with their URLs: first the hot ones. They are made when a bid's is read.
    pub channels: OnceLock<Vec<(String, String)>>,
}

const FIRST_PERSON: u64 = 1_000;
const FIRST_AUCTION: u64 = 1_000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;
/// One in so many people and auctions is hot.
const HOT: u64 = 100;
/// How many people bid and sell.
const ACTIVE: u64 = 1_000;
/// How many auctions are open at a time.
const IN_FLIGHT: u64 = 100;
/// Events also name so many people and auctions that are still to come.
const LEAD: u64 = 10;
/// The number of channels that are not hot.
const CHANNELS: u64 = 10_000;
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
const LAST_NAMES: [&str; 9] = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];

/// What a random number is drawn for. The numbers are part of what the events are.
#[derive(Clone, Copy)]
enum Draw {
    Extra = 0,
    ExtraLength,
    FirstName,
    LastName,
    Mailbox,
    MailHost,
    CreditCard,
    City,
    State,
    ItemName,
    Description,
    InitialBid,
    Reserve,
    Length,
    SellerIsHot,
    Seller,
    Category,
    AuctionIsHot,
    Auction,
    BidderIsHot,
    Bidder,
    Price,
    ChannelIsHot,
    Channel,
    Url,
    UrlHasChannel,
}

/// A whole number below `n` of a random one.
fn below(random: u64, n: u64) -> u64 {
    ((u128::from(random) * u128::from(n)) >> 64) as u64
}

/// A price, in cents: their logarithms are evenly distributed from 100 to 100 million.
fn price(random: u64) -> i64 {
    (10f64.powf(unit(random) * 6.0) * 100.0).round() as i64
}

/// Appends so many letters.
fn letters(random: u64, length: usize, out: &mut Vec<u8>) {
    let end = out.len() + length;
    let mut part = 0;
    while out.len() < end {
        let of_part = mix(random, part, 0).to_le_bytes().map(|b| b'a' + ((u16::from(b) * 26) >> 8) as u8);
        out.extend_from_slice(&of_part[..of_part.len().min(end - out.len())]);
        part += 1;
    }
}

/// Appends a text of 3 or more and less than `most` letters. Within it, `gap` stands for one in 13.
fn words(random: u64, most: u64, gap: u8, out: &mut Vec<u8>) {
    let length = 3 + below(mix(random, 0, 1), most - 3);
    for i in 0..length {
        let drawn = mix(random, i, 2);
        let inner = i > 0 && i + 1 < length;
        out.push(if inner && below(drawn, 13) == 0 { gap } else { b'a' + (drawn % 26) as u8 });
    }
}

fn one_of<'a>(all: &[&'a str], random: u64) -> &'a str {
    all[below(random, all.len() as u64) as usize]
}

impl Site {
    fn draw(&self, event: u64, what: Draw) -> u64 {
        mix(self.seed, event, what as u64)
    }

    /// Events in a round.
    fn round(&self) -> u64 {
        self.people + self.auctions + self.bids
    }

    /// The kind of an event.
    pub(super) fn kind(&self, event: u64) -> Kind {
        match event % self.round() {
            n if n < self.people => Kind::Person,
            n if n < self.people + self.auctions => Kind::Auction,
            _ => Kind::Bid,
        }
    }

    /// The time of an event, in milliseconds since 1970.
    pub(super) fn time(&self, event: u64) -> i64 {
        let passed = u128::from(event) * 1_000 / u128::from(self.rate);
        self.base_time.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
    }

    /// How many people there are before the last one.
    fn last_person(&self, event: u64) -> u64 {
        event / self.round() * self.people + (event % self.round()).min(self.people - 1)
    }

    /// How many auctions there are before the last one. There are none yet for the people of the first round.
    fn last_auction(&self, event: u64) -> u64 {
        let before = event / self.round() * self.auctions;
        match (event % self.round()).checked_sub(self.people) {
            Some(n) => before + n.min(self.auctions - 1),
            None => before.saturating_sub(1),
        }
    }

    /// Somebody who is active.
    fn anybody(&self, event: u64, what: Draw) -> u64 {
        let people = self.last_person(event) + 1;
        let active = people.min(ACTIVE);
        people - active + below(self.draw(event, what), active + LEAD)
    }

    /// Appends letters, so that an event has a certain size on average.
    fn extra(&self, event: u64, size: usize, wanted: usize, out: &mut Vec<u8>) {
        let Some(missing) = wanted.checked_sub(size) else { return };
        let varies = missing / 5;
        let more = below(self.draw(event, Draw::ExtraLength), 2 * varies as u64) as usize;
        letters(self.draw(event, Draw::Extra), missing - varies + more, out);
    }
}

/// People.
impl Site {
    pub(super) fn person_id(&self, event: u64) -> i64 {
        (FIRST_PERSON + self.last_person(event)) as i64
    }
    pub(super) fn name(&self, event: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(one_of(&FIRST_NAMES, self.draw(event, Draw::FirstName)).as_bytes());
        out.push(b' ');
        out.extend_from_slice(one_of(&LAST_NAMES, self.draw(event, Draw::LastName)).as_bytes());
    }
    pub(super) fn email(&self, event: u64, out: &mut Vec<u8>) {
        words(self.draw(event, Draw::Mailbox), 7, b' ', out);
        out.push(b'@');
        words(self.draw(event, Draw::MailHost), 5, b' ', out);
        out.extend_from_slice(b".com");
    }
    pub(super) fn credit_card(&self, event: u64, out: &mut Vec<u8>) {
        let drawn = self.draw(event, Draw::CreditCard);
        for digit in 0..16 {
            if digit > 0 && digit % 4 == 0 {
                out.push(b' ');
            }
            out.push(b'0' + (((drawn >> (4 * digit)) & 15) * 10 / 16) as u8);
        }
    }
    pub(super) fn city(&self, event: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(one_of(&CITIES, self.draw(event, Draw::City)).as_bytes());
    }
    pub(super) fn state(&self, event: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(one_of(&STATES, self.draw(event, Draw::State)).as_bytes());
    }
    pub(super) fn person_extra(&self, event: u64, out: &mut Vec<u8>) {
        let mut texts = vec![];
        [Site::name, Site::email, Site::credit_card, Site::city, Site::state]
            .iter()
            .for_each(|f| f(self, event, &mut texts));
        self.extra(event, 8 + texts.len(), self.sizes.person, out);
    }
}

/// Auctions.
impl Site {
    pub(super) fn auction_id(&self, event: u64) -> i64 {
        (FIRST_AUCTION + self.last_auction(event)) as i64
    }
    pub(super) fn item_name(&self, event: u64, out: &mut Vec<u8>) {
        words(self.draw(event, Draw::ItemName), 20, b' ', out);
    }
    pub(super) fn description(&self, event: u64, out: &mut Vec<u8>) {
        words(self.draw(event, Draw::Description), 100, b' ', out);
    }
    pub(super) fn initial_bid(&self, event: u64) -> i64 {
        price(self.draw(event, Draw::InitialBid))
    }
    pub(super) fn reserve(&self, event: u64) -> i64 {
        self.initial_bid(event) + price(self.draw(event, Draw::Reserve))
    }
    /// On average, an auction is open until as many others have begun as are in flight.
    pub(super) fn expires(&self, event: u64) -> i64 {
        let now = self.time(event);
        let average = self.time(event.saturating_add(IN_FLIGHT * self.round() / self.auctions)).saturating_sub(now);
        let length = below(self.draw(event, Draw::Length), (2 * average.unsigned_abs()).max(1));
        now.saturating_add(1 + length as i64)
    }
    pub(super) fn seller(&self, event: u64) -> i64 {
        let hot = below(self.draw(event, Draw::SellerIsHot), self.hot_sellers) > 0;
        let seller = if hot { self.last_person(event) / HOT * HOT } else { self.anybody(event, Draw::Seller) };
        (FIRST_PERSON + seller) as i64
    }
    pub(super) fn category(&self, event: u64) -> i64 {
        (FIRST_CATEGORY + below(self.draw(event, Draw::Category), CATEGORIES)) as i64
    }
    pub(super) fn auction_extra(&self, event: u64, out: &mut Vec<u8>) {
        let mut texts = vec![];
        [Site::item_name, Site::description].iter().for_each(|f| f(self, event, &mut texts));
        self.extra(event, 6 * 8 + texts.len(), self.sizes.auction, out);
    }
}

/// Bids.
impl Site {
    pub(super) fn bid_auction(&self, event: u64) -> i64 {
        let last = self.last_auction(event);
        let hot = below(self.draw(event, Draw::AuctionIsHot), self.hot_auctions) > 0;
        let auction = if hot {
            last / HOT * HOT
        } else {
            let first = last.saturating_sub(IN_FLIGHT);
            first + below(self.draw(event, Draw::Auction), last - first + 1 + LEAD)
        };
        (FIRST_AUCTION + auction) as i64
    }
    /// The hot bidder is not the hot seller.
    pub(super) fn bidder(&self, event: u64) -> i64 {
        let hot = below(self.draw(event, Draw::BidderIsHot), self.hot_bidders) > 0;
        let bidder = if hot { self.last_person(event) / HOT * HOT + 1 } else { self.anybody(event, Draw::Bidder) };
        (FIRST_PERSON + bidder) as i64
    }
    pub(super) fn price(&self, event: u64) -> i64 {
        price(self.draw(event, Draw::Price))
    }
    pub(super) fn channel(&self, event: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.channel_of(event).0.as_bytes());
    }
    pub(super) fn url(&self, event: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.channel_of(event).1.as_bytes());
    }
    pub(super) fn bid_extra(&self, event: u64, out: &mut Vec<u8>) {
        self.extra(event, 4 * 8, self.sizes.bid, out);
    }

    fn channel_of(&self, event: u64) -> &(String, String) {
        let all = self.channels.get_or_init(|| self.made_channels());
        let (hot, drawn) = (HOT_CHANNELS.len() as u64, self.draw(event, Draw::Channel));
        let is_hot = below(self.draw(event, Draw::ChannelIsHot), 2) > 0;
        &all[if is_hot { below(drawn, hot) } else { hot + below(drawn, CHANNELS) } as usize]
    }

    fn made_channels(&self) -> Vec<(String, String)> {
        let url = |channel: u64| {
            let mut out = b"https://www.nexmark.com/".to_vec();
            for folder in 0..3 {
                words(mix(self.draw(channel, Draw::Url), folder, 0), 5, b'_', &mut out);
                out.push(b'/');
            }
            String::from_utf8_lossy(&out).into_owned() + "item.htm?query=1"
        };
        let hot = HOT_CHANNELS.iter().zip(CHANNELS..).map(|(name, n)| ((*name).to_string(), url(n)));
        let others = (0..CHANNELS).map(|n| {
            // The bits of the number in reverse, as a whole number of 32 bits without its sign.
            let id = (n as u32).reverse_bits().cast_signed().unsigned_abs();
            let named = below(self.draw(n, Draw::UrlHasChannel), 10) > 0;
            (format!("channel-{n}"), if named { format!("{}&channel_id={id}", url(n)) } else { url(n) })
        });
        hot.chain(others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site {
            seed: 1,
            people: 1,
            auctions: 3,
            bids: 46,
            hot_auctions: 2,
            hot_bidders: 4,
            hot_sellers: 4,
            sizes: Sizes { person: 200, auction: 500, bid: 100 },
            base_time: 1_436_918_400_000,
            rate: 10_000,
            channels: OnceLock::new(),
        }
    }

    fn text(f: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = vec![];
        f(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn ids_are_given_in_order() {
        let s = site();
        let (mut people, mut auctions) = (1_000, 1_000);
        for event in 0..1_000 {
            match s.kind(event) {
                Kind::Person => {
                    assert_eq!(s.person_id(event), people);
                    people += 1;
                }
                Kind::Auction => {
                    assert_eq!(s.auction_id(event), auctions);
                    auctions += 1;
                }
                Kind::Bid => {
                    assert!(s.bid_auction(event) < auctions + LEAD as i64, "event {event}");
                    assert!(s.bidder(event) <= people + LEAD as i64, "event {event}");
                }
            }
        }
        assert_eq!((people, auctions), (1_020, 1_060));
    }

    #[test]
    fn sizes_and_shares_are_about_what_they_should_be() {
        let s = site();
        let bids: Vec<u64> = (0..200_000).filter(|e| s.kind(*e) == Kind::Bid).collect();
        let share = |of: &dyn Fn(u64) -> bool| bids.iter().filter(|e| of(**e)).count() as f64 / bids.len() as f64;
        let hot_auction = share(&|e| (s.bid_auction(e) - 1_000) % 100 == 0);
        assert!((0.49..0.53).contains(&hot_auction), "{hot_auction}");
        let hot_bidder = share(&|e| (s.bidder(e) - 1_000) % 100 == 1);
        assert!((0.74..0.78).contains(&hot_bidder), "{hot_bidder}");
        let hot_channel = share(&|e| !text(|out| s.channel(e, out)).starts_with("channel-"));
        assert!((0.49..0.51).contains(&hot_channel), "{hot_channel}");
        let cheap = share(&|e| s.price(e) < 10_000);
        assert!((0.32..0.35).contains(&cheap), "{cheap}");
        assert!(bids.iter().all(|e| (100..=100_000_000).contains(&s.price(*e))));
        let size: usize = bids.iter().map(|e| 32 + text(|out| s.bid_extra(*e, out)).len()).sum();
        assert!((99..=101).contains(&(size / bids.len())), "{}", size / bids.len());
    }

    #[test]
    fn an_auction_ends_after_it_begins() {
        let s = site();
        let mut total = 0;
        for event in (0..100_000).filter(|e| s.kind(*e) == Kind::Auction) {
            let length = s.expires(event) - s.time(event);
            assert!((1..=333).contains(&length), "{length}");
            total += length;
            assert!(s.reserve(event) > s.initial_bid(event));
        }
        assert!((150..180).contains(&(total / 6_000)), "{}", total / 6_000);
    }

    #[test]
    fn times_and_lengths_do_not_overflow() {
        let s = Site { rate: 1, ..site() };
        assert_eq!(s.time(u64::MAX), i64::MAX);
        assert!(s.expires(u64::MAX - 49) >= s.time(0));
    }
}
