DROP TABLE event_feeds, event_attendees, events;
