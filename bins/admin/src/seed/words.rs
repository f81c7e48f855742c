//! What the demonstration data is made of. Nobody and nothing here is real: addresses end in `.example`, which is reserved
//! for that, as are the telephone numbers 555-0100 to 555-0199.

pub(super) const FIRST_NAMES: &[&str] = &[
    "Ada", "Agnes", "Aisha", "Alba", "Amara", "Anders", "Anika", "Arthur", "Astrid", "Beatriz", "Benedikt", "Bruno", "Camille",
    "Carmen", "Cedric", "Chiara", "Clara", "Daniel", "Daria", "Dmitri", "Edith", "Elena", "Elias", "Emeka", "Esther", "Fatima",
    "Felix", "Fiona", "Frida", "Gabriel", "Greta", "Hana", "Hanna", "Hector", "Helena", "Hugo", "Ida", "Imran", "Ingrid", "Irene",
    "Isaac", "Ivana", "Jakob", "Jasmin", "Joaquín", "Johanna", "Jonas", "José", "Julia", "Kamil", "Karim", "Katarina", "Kenji",
    "Laila", "Lars", "Leonie", "Liam", "Lina", "Lucía", "Łukasz", "Magnus", "Malika", "Marco", "Mariam", "Marta", "Mateo", "Maya",
    "Mei", "Milan", "Mina", "Nadia", "Naomi", "Niamh", "Nils", "Noor", "Olga", "Oscar", "Paula", "Pavel", "Priya", "Rafael", "Ravi",
    "Renée", "Rosa", "Ruben", "Samira", "Sanna", "Selma", "Silvia", "Simon", "Sofia", "Søren", "Stella", "Tariq", "Tomás", "Ulrike",
    "Valentina", "Viktor", "Yara", "Yusuf", "Zoë",
];

pub(super) const LAST_NAMES: &[&str] = &[
    "Abbott", "Achterberg", "Adeyemi", "Ahlgren", "Almeida", "Andersen", "Arslan", "Baranov", "Barros", "Becker", "Bellamy", "Berg",
    "Bianchi", "Blanchet", "Bondarenko", "Brandt", "Brennan", "Cabrera", "Calloway", "Castillo", "Chandra", "Chen", "Contreras",
    "Cooper", "Costa", "Dahl", "Danso", "Delgado", "Diallo", "Dubois", "Eklund", "El-Sayed", "Engel", "Falk", "Farkas", "Ferrari",
    "Fischer", "Fontaine", "Fujita", "Gallagher", "García", "Gonçalves", "Grant", "Haddad", "Hakimi", "Hansen", "Hartmann", "Horvat",
    "Ibrahim", "Ivanova", "Jansen", "Kapoor", "Kaya", "Keller", "Kim", "Kowalska", "Kruger", "Kumar", "Laurent", "Lindqvist", "Lopes",
    "Maguire", "Marchetti", "Mensah", "Meyer", "Molina", "Moreau", "Müller", "Nakamura", "Ndiaye", "Nguyen", "Nilsson", "Novak",
    "Nowak", "Obi", "Okafor", "Olsen", "Ortega", "Osei", "Papadopoulos", "Park", "Pereira", "Petrov", "Popescu", "Quinn", "Rahman",
    "Reyes", "Ricci", "Rojas", "Romano", "Sato", "Schneider", "Silva", "Singh", "Solberg", "Sousa", "Tanaka", "Torres", "Vasquez",
    "Virtanen", "Vogel", "Wagner", "Walsh", "Weber", "Yilmaz", "Zhang",
];

/// The two halves of a company's name.
pub(super) const COMPANY_HEADS: &[&str] = &[
    "Alder", "Amber", "Anchor", "Aspen", "Beacon", "Birch", "Bluebell", "Bramble", "Bridge", "Cedar", "Clover", "Cobalt", "Copper",
    "Coral", "Crane", "Delta", "Dune", "Elm", "Ember", "Falcon", "Fern", "Flint", "Garnet", "Glacier", "Granite", "Grove", "Harbor",
    "Hawthorn", "Hazel", "Heron", "Indigo", "Iris", "Ivory", "Jade", "Juniper", "Kestrel", "Lagoon", "Larch", "Lark", "Lotus",
    "Maple", "Marble", "Meadow", "Mistral", "Nova", "Oak", "Onyx", "Opal", "Orchard", "Osprey", "Pebble", "Pine", "Poplar", "Quartz",
    "Raven", "Reed", "Ridge", "Rowan", "Saffron", "Sage", "Sierra", "Silver", "Slate", "Spruce", "Sterling", "Summit", "Tamarind",
    "Thistle", "Timber", "Topaz", "Valley", "Walnut", "Willow", "Winter", "Zephyr",
];
pub(super) const COMPANY_TAILS: &[&str] = &[
    "Analytics", "Apparel", "Architects", "Bakery", "Biotech", "Books", "Brewing", "Capital", "Ceramics", "Clinics", "Coffee",
    "Consulting", "Dairy", "Design", "Dynamics", "Electric", "Energy", "Engineering", "Farms", "Foods", "Freight", "Furniture",
    "Gardens", "Glassworks", "Health", "Holdings", "Hotels", "Insurance", "Interiors", "Labs", "Legal", "Logistics", "Machines",
    "Markets", "Media", "Metals", "Motors", "Outfitters", "Packaging", "Paper", "Partners", "Pharma", "Press", "Robotics", "Schools",
    "Security", "Shipping", "Software", "Solar", "Sports", "Studios", "Supply", "Systems", "Telecom", "Textiles", "Tools", "Travel",
    "Ventures", "Water", "Works",
];

/// What an organization of the demonstration does, behind the first half of its name.
pub(super) const ORG_TAILS: &[&str] = &["Trading", "Services", "Solutions", "Group", "Agency", "Wholesale", "Collective", "Office Supply"];

pub(super) const SALUTATIONS: &[&str] = &["Ms", "Mr", "Dr", "Prof", "Mx"];

pub(super) const JOB_TITLES: &[&str] = &[
    "Account Manager", "Chief Executive Officer", "Chief Financial Officer", "Chief Technology Officer", "Creative Director",
    "Customer Success Lead", "Facilities Manager", "Finance Director", "Founder", "Head of Growth", "Head of Operations",
    "HR Manager", "IT Manager", "Marketing Director", "Office Manager", "Operations Analyst", "Plant Manager", "Procurement Lead",
    "Product Manager", "Project Manager", "Purchasing Manager", "Quality Manager", "Sales Director", "Store Manager",
    "Supply Chain Manager",
];

pub(super) const TOPICS: &[&str] = &[
    "Annual supply contract", "Annual maintenance", "Branch opening", "Catalogue request", "Consulting retainer",
    "Delivery subscription", "Equipment lease", "Extended warranty", "Fleet renewal", "Framework agreement", "Gift programme",
    "New headquarters", "Office move", "Pilot project", "Price enquiry", "Product demonstration", "Quarterly order",
    "Referral", "Renewal", "Second site", "Seasonal order", "Service upgrade", "Spare parts", "Staff training", "Trade fair contact",
    "Website enquiry",
];

pub(super) const DESCRIPTIONS: &[&str] = &[
    "Asked for a call back in the morning. Prefers e-mail for anything with figures.",
    "Met at a trade fair; compares three suppliers and decides by the end of the quarter.",
    "Present contract ends soon. Wants a longer payment term and one contact person.",
    "Referred by an existing customer. Budget is approved, the scope is still open.",
    "Downloaded the price list twice. Interested in delivery times more than in discounts.",
    "Needs an offer in two variants: with and without installation.",
    "The decision is made by the parent company; our contact prepares the paper for it.",
    "Was a customer before and left over support. Wants to hear what has changed since.",
    "Small first order as a trial; four more sites to follow if that goes well.",
    "Looking for a partner for the whole region. Sends the requirements as a document.",
];

pub(super) const COMMENTS: &[&str] = &[
    "Called, no answer. I will try again tomorrow.",
    "Sent the offer by e-mail.",
    "Spoke for twenty minutes; they like the second variant.",
    "Asked for references from the same line of business.",
    "Budget meeting was postponed by two weeks.",
    "New contact person, see the signature in the last mail.",
    "They need the data sheet in their own language.",
    "Agreed on a visit next month.",
    "Price is fine, the delivery time is not.",
    "Waiting for the signature from their legal department.",
];

/// Cities with their state, where that is written, and the first digits of a postal code, by country.
pub(super) const PLACES: &[(&str, &[(&str, &str, &str)])] = &[
    ("US", &[
        ("Albany", "NY", "122"), ("Austin", "TX", "787"), ("Boise", "ID", "837"), ("Denver", "CO", "802"), ("Madison", "WI", "537"),
        ("Portland", "OR", "972"), ("Raleigh", "NC", "276"), ("Tucson", "AZ", "857"),
    ]),
    ("DE", &[
        ("Augsburg", "", "861"), ("Bremen", "", "281"), ("Dresden", "", "010"), ("Erfurt", "", "990"), ("Köln", "", "506"),
        ("Leipzig", "", "041"), ("Münster", "", "481"), ("Nürnberg", "", "904"),
    ]),
    ("GB", &[
        ("Bath", "", "BA1 1"), ("Bristol", "", "BS1 2"), ("Cardiff", "", "CF10 1"), ("Leeds", "", "LS1 3"), ("Norwich", "", "NR1 2"),
        ("Perth", "", "PH1 4"), ("Sheffield", "", "S1 2"), ("York", "", "YO1 7"),
    ]),
    ("FR", &[
        ("Bordeaux", "", "330"), ("Dijon", "", "210"), ("Grenoble", "", "380"), ("Lille", "", "590"), ("Nantes", "", "440"),
        ("Orléans", "", "450"), ("Rennes", "", "350"), ("Saint-Étienne", "", "420"),
    ]),
];

pub(super) const STREETS: &[&str] = &[
    "Canal Street", "Chapel Lane", "Church Road", "Garden Street", "Harbour Road", "High Street", "Hill Road", "Lake View",
    "Market Square", "Mill Lane", "Orchard Road", "Park Avenue", "Quarry Road", "River Street", "School Lane", "Station Road",
    "Tower Street", "West Street",
];

pub(super) const TEAMS: &[(&str, &str)] = &[
    ("Inbound", "Answers what comes in over the website and the telephone"),
    ("Key accounts", "Looks after the largest customers"),
    ("Field sales", "Visits customers on site"),
    ("Partners", "Works through resellers"),
];

/// Names and colours.
pub(super) const TAGS: &[(&str, &str)] = &[
    ("VIP", "amber"), ("Newsletter", "sky"), ("Trade fair", "violet"), ("Price sensitive", "red"), ("Long-term", "emerald"),
    ("Referral", "teal"), ("Upsell", "green"), ("At risk", "orange"), ("Public sector", "indigo"), ("Start-up", "pink"),
    ("Wholesale", "lime"), ("Do not call", "gray"),
];
