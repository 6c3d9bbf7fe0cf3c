-- The service's own tables, as its migrations make them. Who may do what with them is bootstrap's.
CREATE TABLE users (id bigserial PRIMARY KEY, name text NOT NULL);
CREATE TABLE sessions (id bigserial PRIMARY KEY, user_id bigint REFERENCES users);
CREATE TABLE user_progress (id bigserial PRIMARY KEY, user_id bigint REFERENCES users);
CREATE TABLE memories (id bigserial PRIMARY KEY, body text NOT NULL);
CREATE TABLE memory_contexts (id bigserial PRIMARY KEY, memory_id bigint REFERENCES memories);
