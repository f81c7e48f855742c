crate::text_enum!(
    /// The line of business.
    Industry {
        Advertising = "ADVERTISING", Agriculture = "AGRICULTURE", Apparel = "APPAREL & ACCESSORIES", Automotive = "AUTOMOTIVE",
        Banking = "BANKING", Biotechnology = "BIOTECHNOLOGY", BuildingMaterials = "BUILDING MATERIALS & EQUIPMENT",
        Chemical = "CHEMICAL", Computer = "COMPUTER", Education = "EDUCATION", Electronics = "ELECTRONICS", Energy = "ENERGY",
        Entertainment = "ENTERTAINMENT & LEISURE", Finance = "FINANCE", Food = "FOOD & BEVERAGE", Grocery = "GROCERY",
        Healthcare = "HEALTHCARE", Insurance = "INSURANCE", Legal = "LEGAL", Manufacturing = "MANUFACTURING",
        Publishing = "PUBLISHING", RealEstate = "REAL ESTATE", Service = "SERVICE", Software = "SOFTWARE", Sports = "SPORTS",
        Technology = "TECHNOLOGY", Telecommunications = "TELECOMMUNICATIONS", Television = "TELEVISION",
        Transportation = "TRANSPORTATION", VentureCapital = "VENTURE CAPITAL",
    }
);
