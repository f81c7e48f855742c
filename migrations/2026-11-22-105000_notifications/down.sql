DROP FUNCTION record_title(uuid);
DROP TABLE record_followers;
DROP TABLE notification_preferences;
DROP TABLE notifications;
