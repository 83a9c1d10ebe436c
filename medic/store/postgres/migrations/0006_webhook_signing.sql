-- Each webhook has a secret of its own, with which Medic signs what it sends there (Standard Webhooks).

-- A secret is `whsec_` and 32 bytes in base64. Made here, so that a row has one whoever inserts it: the release before, or SQL.
-- gen_random_uuid() draws 122 bits from the system's source of randomness; two of them are hashed.
CREATE FUNCTION medic.new_webhook_secret() RETURNS text
    LANGUAGE sql VOLATILE
AS $$
    SELECT 'whsec_' || encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64')
$$;

-- Webhooks that are there already get one each; `medic-cli webhook rotate ID` shows one.
ALTER TABLE medic.webhooks
    ADD COLUMN secret        text NOT NULL DEFAULT medic.new_webhook_secret(),
    ADD COLUMN former_secret text,
    ADD COLUMN former_until  timestamptz,
    ADD CONSTRAINT webhooks_secret_form CHECK (
        secret ~ '^whsec_[A-Za-z0-9+/]{32,88}={0,2}$' AND former_secret ~ '^whsec_[A-Za-z0-9+/]{32,88}={0,2}$'
    );
COMMENT ON COLUMN medic.webhooks.secret IS 'Signs each request to this webhook. Shown once, when it was made.';
COMMENT ON COLUMN medic.webhooks.former_secret IS 'The secret before; signs as well until former_until.';
