SELECT count(*) FROM users;
INSERT INTO memories (body) VALUES ('a thought');
