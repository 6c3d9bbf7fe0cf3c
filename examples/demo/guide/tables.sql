-- The service's tables, and what each role may do with them; tables made later are included.
CREATE TABLE users (id bigserial PRIMARY KEY, name text NOT NULL);
CREATE TABLE sessions (id bigserial PRIMARY KEY, user_id bigint REFERENCES users);
CREATE TABLE user_progress (id bigserial PRIMARY KEY, user_id bigint REFERENCES users);
CREATE TABLE memories (id bigserial PRIMARY KEY, body text NOT NULL);
CREATE TABLE memory_contexts (id bigserial PRIMARY KEY, memory_id bigint REFERENCES memories);

GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO intelligence_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON users, sessions, user_progress TO auth_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON memories, memory_contexts TO memory_role;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO intelligence_role, auth_role, memory_role;

ALTER DEFAULT PRIVILEGES IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO intelligence_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
  GRANT USAGE, SELECT ON SEQUENCES TO intelligence_role, auth_role, memory_role;
