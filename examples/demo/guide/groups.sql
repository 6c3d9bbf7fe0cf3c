-- The three permanent roles. They hold the rights and cannot log in; every leased user is a member
-- of one. "vault-admin" makes and drops the leased users and is no superuser.
DO $$
DECLARE name text;
BEGIN
  PERFORM pg_advisory_xact_lock(7041);
  FOREACH name IN ARRAY ARRAY['intelligence_role', 'auth_role', 'memory_role'] LOOP
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN', name);
    END IF;
  END LOOP;
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'vault-admin') THEN
    CREATE ROLE "vault-admin" LOGIN CREATEROLE;
    GRANT intelligence_role, auth_role, memory_role TO "vault-admin" WITH ADMIN OPTION;
  END IF;
END $$;
