CREATE TABLE "api_key_addresses" (
	"tenant_id" uuid NOT NULL,
	"key_id" uuid NOT NULL,
	"range" "cidr" NOT NULL,
	CONSTRAINT "api_key_addresses_tenant_id_key_id_range_pk" PRIMARY KEY("tenant_id","key_id","range")
);
--> statement-breakpoint
CREATE TABLE "api_key_resources" (
	"tenant_id" uuid NOT NULL,
	"key_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"resource_id" uuid NOT NULL,
	CONSTRAINT "api_key_resources_tenant_id_key_id_kind_resource_id_pk" PRIMARY KEY("tenant_id","key_id","kind","resource_id")
);
--> statement-breakpoint
CREATE TABLE "api_key_scopes" (
	"tenant_id" uuid NOT NULL,
	"key_id" uuid NOT NULL,
	"scope" text NOT NULL,
	CONSTRAINT "api_key_scopes_tenant_id_key_id_scope_pk" PRIMARY KEY("tenant_id","key_id","scope")
);
--> statement-breakpoint
CREATE TABLE "api_key_uses" (
	"tenant_id" uuid NOT NULL,
	"key_id" uuid NOT NULL,
	"last_used_at" timestamptz NOT NULL,
	CONSTRAINT "api_key_uses_tenant_id_key_id_pk" PRIMARY KEY("tenant_id","key_id")
);
--> statement-breakpoint
CREATE TABLE "api_keys" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"name" text NOT NULL,
	"kind" text NOT NULL,
	"hash" "bytea" NOT NULL,
	"hint" text NOT NULL,
	"enabled" boolean DEFAULT true NOT NULL,
	"requests_per_minute" integer,
	"expires_at" timestamptz,
	"revoked_at" timestamptz,
	"replaced_by" uuid,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "api_keys_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "api_keys_kind" CHECK ("api_keys"."kind" in ('live', 'pub', 'admin'))
);
--> statement-breakpoint
CREATE TABLE "auth_key_scopes" (
	"tenant_id" uuid NOT NULL,
	"key_id" uuid NOT NULL,
	"scope" text NOT NULL,
	CONSTRAINT "auth_key_scopes_tenant_id_key_id_scope_pk" PRIMARY KEY("tenant_id","key_id","scope")
);
--> statement-breakpoint
CREATE TABLE "auth_keys" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"name" text NOT NULL,
	"algorithm" text NOT NULL,
	"public_key_pem" text,
	"jwk" jsonb,
	"jwks_url" text,
	"revoked_at" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "auth_keys_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "auth_keys_algorithm" CHECK ("auth_keys"."algorithm" in ('ES256', 'ES384', 'RS256', 'EdDSA'))
);
--> statement-breakpoint
CREATE TABLE "revoked_tokens" (
	"tenant_id" uuid NOT NULL,
	"jti" text NOT NULL,
	"user_id" uuid,
	"expires_at" timestamptz NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "revoked_tokens_tenant_id_jti_pk" PRIMARY KEY("tenant_id","jti")
);
--> statement-breakpoint
CREATE TABLE "channels" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"medium" text DEFAULT 'chat' NOT NULL,
	"name" text,
	"metadata" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "channels_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "channels_medium" CHECK ("channels"."medium" in ('chat', 'email', 'sms', 'whatsapp', 'twitter', 'facebook', 'instagram', 'linkedin', 'custom'))
);
--> statement-breakpoint
CREATE TABLE "deliveries" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"channel_id" uuid NOT NULL,
	"message_id" uuid NOT NULL,
	"integration_id" uuid,
	"medium" text NOT NULL,
	"recipient" text NOT NULL,
	"content" jsonb NOT NULL,
	"status" text DEFAULT 'pending' NOT NULL,
	"complained" boolean DEFAULT false NOT NULL,
	"unsubscribed" boolean DEFAULT false NOT NULL,
	"provider_message_id" text,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_attempt_at" timestamptz DEFAULT now() NOT NULL,
	"claimed_until" timestamptz,
	"error" text,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "deliveries_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "deliveries_medium" CHECK ("deliveries"."medium" in ('chat', 'email', 'sms', 'whatsapp', 'twitter', 'facebook', 'instagram', 'linkedin', 'custom')),
	CONSTRAINT "deliveries_status" CHECK ("deliveries"."status" in ('pending', 'sent', 'deferred', 'delivered', 'opened', 'clicked', 'suppressed', 'cancelled', 'failed', 'bounced'))
);
--> statement-breakpoint
CREATE TABLE "delivery_events" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"delivery_id" uuid NOT NULL,
	"status" text NOT NULL,
	"details" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "delivery_events_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "delivery_events_status" CHECK ("delivery_events"."status" in ('pending', 'sent', 'deferred', 'delivered', 'opened', 'clicked', 'suppressed', 'cancelled', 'failed', 'bounced', 'complained', 'unsubscribed'))
);
--> statement-breakpoint
CREATE TABLE "events" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"stream_kind" text NOT NULL,
	"stream_id" uuid NOT NULL,
	"seq" bigint NOT NULL,
	"type" text NOT NULL,
	"payload" text NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "events_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "events_stream_kind" CHECK ("events"."stream_kind" in ('channel', 'user', 'tenant'))
);
--> statement-breakpoint
CREATE TABLE "streams" (
	"tenant_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"id" uuid NOT NULL,
	"last_seq" bigint NOT NULL,
	CONSTRAINT "streams_tenant_id_kind_id_pk" PRIMARY KEY("tenant_id","kind","id"),
	CONSTRAINT "streams_kind" CHECK ("streams"."kind" in ('channel', 'user', 'tenant'))
);
--> statement-breakpoint
CREATE TABLE "webhook_event_types" (
	"tenant_id" uuid NOT NULL,
	"name" text NOT NULL,
	"category" text NOT NULL,
	"description" text NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	"durable" boolean DEFAULT true NOT NULL,
	"stream" text NOT NULL,
	"schema" jsonb NOT NULL,
	"active" boolean DEFAULT true NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "webhook_event_types_tenant_id_name_pk" PRIMARY KEY("tenant_id","name"),
	CONSTRAINT "webhook_event_types_stream" CHECK ("webhook_event_types"."stream" in ('channel', 'user', 'tenant'))
);
--> statement-breakpoint
CREATE TABLE "files" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"name" text NOT NULL,
	"content_type" text NOT NULL,
	"size" bigint DEFAULT 0 NOT NULL,
	"sha256" text,
	"status" text DEFAULT 'uploading' NOT NULL,
	"error" text,
	"upload_id" text,
	"created_by" uuid,
	"attached_at" timestamptz,
	"completed_at" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "files_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "files_status" CHECK ("files"."status" in ('uploading', 'completed', 'failed'))
);
--> statement-breakpoint
CREATE TABLE "integrations" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"name" text NOT NULL,
	"medium" text NOT NULL,
	"provider" text NOT NULL,
	"config" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"credentials" "bytea",
	"data_key" "bytea",
	"master_version" text,
	"status" text DEFAULT 'active' NOT NULL,
	"checked_at" timestamptz,
	"error" text,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "integrations_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "integrations_medium" CHECK ("integrations"."medium" in ('chat', 'email', 'sms', 'whatsapp', 'twitter', 'facebook', 'instagram', 'linkedin', 'custom')),
	CONSTRAINT "integrations_status" CHECK ("integrations"."status" in ('active', 'failing', 'disabled'))
);
--> statement-breakpoint
CREATE TABLE "scheduled_jobs" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"type" text NOT NULL,
	"payload" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"unique_key" text,
	"run_at" timestamptz NOT NULL,
	"status" text DEFAULT 'pending' NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"max_attempts" integer DEFAULT 5 NOT NULL,
	"locked_until" timestamptz,
	"cursor" jsonb,
	"progress_done" integer DEFAULT 0 NOT NULL,
	"progress_total" integer,
	"result" jsonb,
	"error" text,
	"created_by" text NOT NULL,
	"started_at" timestamptz,
	"finished_at" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "scheduled_jobs_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "scheduled_jobs_status" CHECK ("scheduled_jobs"."status" in ('pending', 'running', 'completed', 'failed', 'cancelled'))
);
--> statement-breakpoint
CREATE TABLE "team_members" (
	"tenant_id" uuid NOT NULL,
	"team_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "team_members_tenant_id_team_id_user_id_pk" PRIMARY KEY("tenant_id","team_id","user_id")
);
--> statement-breakpoint
CREATE TABLE "teams" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"name" text NOT NULL,
	"metadata" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "teams_tenant_id_id_pk" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
CREATE TABLE "audit_logs" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"actor_kind" text NOT NULL,
	"actor_id" uuid,
	"user_id" uuid,
	"action" text NOT NULL,
	"target_type" text NOT NULL,
	"target_id" text,
	"before" jsonb,
	"after" jsonb,
	"ip" "inet",
	"user_agent" text,
	"request_id" text NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "audit_logs_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "audit_logs_actor_kind" CHECK ("audit_logs"."actor_kind" in ('key', 'token', 'user', 'system'))
);
--> statement-breakpoint
CREATE TABLE "idempotency_keys" (
	"tenant_id" uuid NOT NULL,
	"key" text NOT NULL,
	"fingerprint" text NOT NULL,
	"seed" text NOT NULL,
	"answer" jsonb DEFAULT '[]' NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "idempotency_keys_tenant_id_key_pk" PRIMARY KEY("tenant_id","key")
);
--> statement-breakpoint
CREATE TABLE "plans" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"tier" text NOT NULL,
	"monthly_price" numeric(10,2),
	"yearly_price" numeric(10,2),
	"features" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"limits" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "plans_name_unique" UNIQUE("name")
);
--> statement-breakpoint
CREATE TABLE "tenants" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"plan_id" uuid,
	"settings" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"metadata" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"config_version" bigint DEFAULT 1 NOT NULL,
	"suspended_at" timestamptz,
	"deleted_at" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "usage_metrics" (
	"tenant_id" uuid NOT NULL,
	"metric" text NOT NULL,
	"hour" timestamptz NOT NULL,
	"value" bigint NOT NULL,
	CONSTRAINT "usage_metrics_tenant_id_metric_hour_pk" PRIMARY KEY("tenant_id","metric","hour")
);
--> statement-breakpoint
CREATE TABLE "usage_totals" (
	"tenant_id" uuid NOT NULL,
	"metric" text NOT NULL,
	"value" bigint NOT NULL,
	CONSTRAINT "usage_totals_tenant_id_metric_pk" PRIMARY KEY("tenant_id","metric")
);
--> statement-breakpoint
CREATE TABLE "user_blocks" (
	"tenant_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"blocked_user_id" uuid NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "user_blocks_tenant_id_user_id_blocked_user_id_pk" PRIMARY KEY("tenant_id","user_id","blocked_user_id")
);
--> statement-breakpoint
CREATE TABLE "user_devices" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"device_id" text NOT NULL,
	"push_provider" text,
	"push_token" text,
	"platform" text,
	"last_active_at" timestamptz,
	"registered_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "user_devices_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "user_devices_push_provider" CHECK ("user_devices"."push_provider" in ('fcm', 'apns', 'webpush')),
	CONSTRAINT "user_devices_platform" CHECK ("user_devices"."platform" in ('android', 'ios', 'web'))
);
--> statement-breakpoint
CREATE TABLE "users" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"external_id" text,
	"username" text,
	"display_name" text,
	"avatar_url" text,
	"bio" text,
	"email" text,
	"type" text DEFAULT 'regular' NOT NULL,
	"role" text,
	"metadata" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"deactivated_at" timestamptz,
	"last_seen_at" timestamptz,
	"tokens_revoked_at" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	"search_text" text GENERATED ALWAYS AS (lower(coalesce(username, '') || ' ' || coalesce(display_name, '') || ' ' || coalesce(email, '') || ' ' || coalesce(external_id, ''))) STORED,
	CONSTRAINT "users_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "users_type" CHECK ("users"."type" in ('regular', 'guest', 'anonymous')),
	CONSTRAINT "users_role" CHECK ("users"."role" in ('viewer', 'editor', 'admin'))
);
--> statement-breakpoint
CREATE TABLE "webhook_attempts" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"webhook_id" uuid NOT NULL,
	"delivery_id" uuid,
	"event_type" text NOT NULL,
	"trigger" text NOT NULL,
	"url" text NOT NULL,
	"status" integer,
	"ok" boolean NOT NULL,
	"ms" integer NOT NULL,
	"request_headers" jsonb NOT NULL,
	"response_headers" jsonb,
	"response_body" text,
	"error" text,
	"address" text,
	"note" jsonb,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "webhook_attempts_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "webhook_attempts_trigger" CHECK ("webhook_attempts"."trigger" in ('event', 'retry', 'redelivery', 'recovery', 'test', 'hook', 'action'))
);
--> statement-breakpoint
CREATE TABLE "webhook_deliveries" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"webhook_id" uuid NOT NULL,
	"event_id" uuid NOT NULL,
	"order_key" uuid,
	"order_seq" bigint,
	"status" text DEFAULT 'pending' NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"trigger" text DEFAULT 'event' NOT NULL,
	"next_attempt_at" timestamptz DEFAULT now() NOT NULL,
	"claimed_until" timestamptz,
	"completed_at" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "webhook_deliveries_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "webhook_deliveries_status" CHECK ("webhook_deliveries"."status" in ('pending', 'delivered', 'exhausted', 'cancelled')),
	CONSTRAINT "webhook_deliveries_trigger" CHECK ("webhook_deliveries"."trigger" in ('event', 'retry', 'redelivery', 'recovery', 'test', 'hook', 'action'))
);
--> statement-breakpoint
CREATE TABLE "webhook_health" (
	"tenant_id" uuid NOT NULL,
	"webhook_id" uuid NOT NULL,
	"status" text DEFAULT 'active' NOT NULL,
	"failure_count" integer DEFAULT 0 NOT NULL,
	"failed_attempts" integer DEFAULT 0 NOT NULL,
	"failing_since" timestamptz,
	"last_success_at" timestamptz,
	"last_failure_at" timestamptz,
	"paused_until" timestamptz,
	"window_at" timestamptz,
	"window_used" integer DEFAULT 0 NOT NULL,
	"slow" boolean DEFAULT false NOT NULL,
	CONSTRAINT "webhook_health_tenant_id_webhook_id_pk" PRIMARY KEY("tenant_id","webhook_id"),
	CONSTRAINT "webhook_health_status" CHECK ("webhook_health"."status" in ('active', 'warning', 'disabled'))
);
--> statement-breakpoint
CREATE TABLE "webhook_scopes" (
	"tenant_id" uuid NOT NULL,
	"webhook_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"value" text NOT NULL,
	CONSTRAINT "webhook_scopes_tenant_id_webhook_id_kind_value_pk" PRIMARY KEY("tenant_id","webhook_id","kind","value"),
	CONSTRAINT "webhook_scopes_kind" CHECK ("webhook_scopes"."kind" in ('channel', 'inbox', 'medium'))
);
--> statement-breakpoint
CREATE TABLE "webhook_secrets" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"webhook_id" uuid NOT NULL,
	"sealed" "bytea" NOT NULL,
	"master_version" text NOT NULL,
	"expires_at" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "webhook_secrets_tenant_id_id_pk" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
CREATE TABLE "webhook_subscriptions" (
	"tenant_id" uuid NOT NULL,
	"webhook_id" uuid NOT NULL,
	"kind" text NOT NULL,
	"name" text NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "webhook_subscriptions_tenant_id_webhook_id_kind_name_pk" PRIMARY KEY("tenant_id","webhook_id","kind","name"),
	CONSTRAINT "webhook_subscriptions_kind" CHECK ("webhook_subscriptions"."kind" in ('all', 'category', 'type'))
);
--> statement-breakpoint
CREATE TABLE "webhooks" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"name" text NOT NULL,
	"url" text NOT NULL,
	"description" text,
	"kind" text NOT NULL,
	"headers" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"filter" jsonb,
	"enabled" boolean DEFAULT true NOT NULL,
	"retry_count" integer DEFAULT 9 NOT NULL,
	"timeout_ms" integer DEFAULT 5000 NOT NULL,
	"per_second" integer,
	"ordered" boolean DEFAULT false NOT NULL,
	"fail_open" boolean DEFAULT true NOT NULL,
	"shadow" boolean DEFAULT false NOT NULL,
	"action" text,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "webhooks_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "webhooks_kind" CHECK ("webhooks"."kind" in ('push', 'before_message_send', 'custom_action'))
);
--> statement-breakpoint
ALTER TABLE "api_key_addresses" ADD CONSTRAINT "api_key_addresses_key_id_fk" FOREIGN KEY ("tenant_id","key_id") REFERENCES "public"."api_keys"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "api_key_resources" ADD CONSTRAINT "api_key_resources_key_id_fk" FOREIGN KEY ("tenant_id","key_id") REFERENCES "public"."api_keys"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "api_key_scopes" ADD CONSTRAINT "api_key_scopes_key_id_fk" FOREIGN KEY ("tenant_id","key_id") REFERENCES "public"."api_keys"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "api_key_uses" ADD CONSTRAINT "api_key_uses_key_id_fk" FOREIGN KEY ("tenant_id","key_id") REFERENCES "public"."api_keys"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_replaced_by_fk" FOREIGN KEY ("tenant_id","replaced_by") REFERENCES "public"."api_keys"("tenant_id","id") ON DELETE set null ("replaced_by") ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "auth_key_scopes" ADD CONSTRAINT "auth_key_scopes_key_id_fk" FOREIGN KEY ("tenant_id","key_id") REFERENCES "public"."auth_keys"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "auth_keys" ADD CONSTRAINT "auth_keys_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "revoked_tokens" ADD CONSTRAINT "revoked_tokens_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "revoked_tokens" ADD CONSTRAINT "revoked_tokens_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "channels" ADD CONSTRAINT "channels_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "deliveries" ADD CONSTRAINT "deliveries_channel_id_fk" FOREIGN KEY ("tenant_id","channel_id") REFERENCES "public"."channels"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "deliveries" ADD CONSTRAINT "deliveries_integration_id_fk" FOREIGN KEY ("tenant_id","integration_id") REFERENCES "public"."integrations"("tenant_id","id") ON DELETE set null ("integration_id") ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "delivery_events" ADD CONSTRAINT "delivery_events_delivery_id_fk" FOREIGN KEY ("tenant_id","delivery_id") REFERENCES "public"."deliveries"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "events" ADD CONSTRAINT "events_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "streams" ADD CONSTRAINT "streams_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_event_types" ADD CONSTRAINT "webhook_event_types_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "files" ADD CONSTRAINT "files_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "files" ADD CONSTRAINT "files_created_by_fk" FOREIGN KEY ("tenant_id","created_by") REFERENCES "public"."users"("tenant_id","id") ON DELETE set null ("created_by") ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "integrations" ADD CONSTRAINT "integrations_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "scheduled_jobs" ADD CONSTRAINT "scheduled_jobs_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "team_members" ADD CONSTRAINT "team_members_team_id_fk" FOREIGN KEY ("tenant_id","team_id") REFERENCES "public"."teams"("tenant_id","id") ON DELETE restrict ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "team_members" ADD CONSTRAINT "team_members_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "teams" ADD CONSTRAINT "teams_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "audit_logs" ADD CONSTRAINT "audit_logs_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "idempotency_keys" ADD CONSTRAINT "idempotency_keys_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "tenants" ADD CONSTRAINT "tenants_plan_id_plans_id_fk" FOREIGN KEY ("plan_id") REFERENCES "public"."plans"("id") ON DELETE restrict ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "usage_metrics" ADD CONSTRAINT "usage_metrics_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "usage_totals" ADD CONSTRAINT "usage_totals_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "user_blocks" ADD CONSTRAINT "user_blocks_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "user_blocks" ADD CONSTRAINT "user_blocks_blocked_user_id_fk" FOREIGN KEY ("tenant_id","blocked_user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "user_devices" ADD CONSTRAINT "user_devices_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "users" ADD CONSTRAINT "users_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_attempts" ADD CONSTRAINT "webhook_attempts_webhook_id_fk" FOREIGN KEY ("tenant_id","webhook_id") REFERENCES "public"."webhooks"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_attempts" ADD CONSTRAINT "webhook_attempts_delivery_id_fk" FOREIGN KEY ("tenant_id","delivery_id") REFERENCES "public"."webhook_deliveries"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_deliveries" ADD CONSTRAINT "webhook_deliveries_webhook_id_fk" FOREIGN KEY ("tenant_id","webhook_id") REFERENCES "public"."webhooks"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_deliveries" ADD CONSTRAINT "webhook_deliveries_event_id_fk" FOREIGN KEY ("tenant_id","event_id") REFERENCES "public"."events"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_health" ADD CONSTRAINT "webhook_health_webhook_id_fk" FOREIGN KEY ("tenant_id","webhook_id") REFERENCES "public"."webhooks"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_scopes" ADD CONSTRAINT "webhook_scopes_webhook_id_fk" FOREIGN KEY ("tenant_id","webhook_id") REFERENCES "public"."webhooks"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_secrets" ADD CONSTRAINT "webhook_secrets_webhook_id_fk" FOREIGN KEY ("tenant_id","webhook_id") REFERENCES "public"."webhooks"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhook_subscriptions" ADD CONSTRAINT "webhook_subscriptions_webhook_id_fk" FOREIGN KEY ("tenant_id","webhook_id") REFERENCES "public"."webhooks"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "webhooks" ADD CONSTRAINT "webhooks_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "api_keys_by_hash" ON "api_keys" USING btree ("hash");--> statement-breakpoint
CREATE INDEX "api_keys_by_replacement" ON "api_keys" USING btree ("tenant_id","replaced_by");--> statement-breakpoint
CREATE INDEX "auth_keys_by_algorithm" ON "auth_keys" USING btree ("tenant_id","algorithm");--> statement-breakpoint
CREATE INDEX "revoked_tokens_by_user" ON "revoked_tokens" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "revoked_tokens_by_expiry" ON "revoked_tokens" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "channels_by_medium" ON "channels" USING btree ("tenant_id","medium","id");--> statement-breakpoint
CREATE INDEX "deliveries_by_message" ON "deliveries" USING btree ("tenant_id","message_id");--> statement-breakpoint
CREATE INDEX "deliveries_by_channel" ON "deliveries" USING btree ("tenant_id","channel_id","created_at");--> statement-breakpoint
CREATE INDEX "deliveries_by_status" ON "deliveries" USING btree ("tenant_id","status","created_at");--> statement-breakpoint
CREATE INDEX "deliveries_by_integration" ON "deliveries" USING btree ("tenant_id","integration_id");--> statement-breakpoint
CREATE INDEX "deliveries_by_provider_id" ON "deliveries" USING btree ("tenant_id","provider_message_id");--> statement-breakpoint
CREATE INDEX "deliveries_due" ON "deliveries" USING btree ("next_attempt_at") WHERE "deliveries"."status" = 'pending';--> statement-breakpoint
CREATE INDEX "delivery_events_by_delivery" ON "delivery_events" USING btree ("tenant_id","delivery_id","created_at");--> statement-breakpoint
CREATE UNIQUE INDEX "events_by_stream" ON "events" USING btree ("tenant_id","stream_kind","stream_id","seq");--> statement-breakpoint
CREATE INDEX "events_by_type" ON "events" USING btree ("tenant_id","type","created_at","id");--> statement-breakpoint
CREATE INDEX "events_by_time" ON "events" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE INDEX "webhook_event_types_by_category" ON "webhook_event_types" USING btree ("tenant_id","category","active");--> statement-breakpoint
CREATE INDEX "files_by_status" ON "files" USING btree ("tenant_id","status","created_at");--> statement-breakpoint
CREATE INDEX "files_by_type" ON "files" USING btree ("tenant_id","content_type","created_at");--> statement-breakpoint
CREATE INDEX "files_by_size" ON "files" USING btree ("tenant_id","size");--> statement-breakpoint
CREATE INDEX "files_by_creator" ON "files" USING btree ("tenant_id","created_by");--> statement-breakpoint
CREATE INDEX "files_unused" ON "files" USING btree ("created_at") WHERE "files"."attached_at" is null;--> statement-breakpoint
CREATE INDEX "integrations_by_medium" ON "integrations" USING btree ("tenant_id","medium","status");--> statement-breakpoint
CREATE INDEX "integrations_by_master" ON "integrations" USING btree ("master_version");--> statement-breakpoint
CREATE INDEX "scheduled_jobs_due" ON "scheduled_jobs" USING btree ("run_at") WHERE "scheduled_jobs"."status" in ('pending', 'running');--> statement-breakpoint
CREATE INDEX "scheduled_jobs_by_status" ON "scheduled_jobs" USING btree ("tenant_id","status","run_at");--> statement-breakpoint
CREATE INDEX "scheduled_jobs_by_type" ON "scheduled_jobs" USING btree ("tenant_id","type","created_at");--> statement-breakpoint
CREATE INDEX "scheduled_jobs_finished" ON "scheduled_jobs" USING btree ("finished_at") WHERE "scheduled_jobs"."finished_at" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "scheduled_jobs_by_unique_key" ON "scheduled_jobs" USING btree ("tenant_id","unique_key") WHERE "scheduled_jobs"."status" in ('pending', 'running');--> statement-breakpoint
CREATE INDEX "team_members_by_user" ON "team_members" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "audit_logs_by_actor" ON "audit_logs" USING btree ("tenant_id","actor_id","created_at");--> statement-breakpoint
CREATE INDEX "audit_logs_by_user" ON "audit_logs" USING btree ("tenant_id","user_id","created_at");--> statement-breakpoint
CREATE INDEX "audit_logs_by_action" ON "audit_logs" USING btree ("tenant_id","action","created_at");--> statement-breakpoint
CREATE INDEX "audit_logs_by_target" ON "audit_logs" USING btree ("tenant_id","target_type","target_id");--> statement-breakpoint
CREATE INDEX "audit_logs_by_time" ON "audit_logs" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE INDEX "idempotency_keys_by_age" ON "idempotency_keys" USING btree ("created_at");--> statement-breakpoint
CREATE INDEX "tenants_by_plan" ON "tenants" USING btree ("plan_id");--> statement-breakpoint
CREATE INDEX "user_blocks_by_blocked" ON "user_blocks" USING btree ("tenant_id","blocked_user_id");--> statement-breakpoint
CREATE UNIQUE INDEX "user_devices_by_device" ON "user_devices" USING btree ("tenant_id","user_id","device_id");--> statement-breakpoint
CREATE INDEX "user_devices_by_push_token" ON "user_devices" USING btree ("tenant_id","push_token");--> statement-breakpoint
CREATE INDEX "users_by_text" ON "users" USING gin ("tenant_id","search_text" gin_trgm_ops);--> statement-breakpoint
CREATE UNIQUE INDEX "users_by_external_id" ON "users" USING btree ("tenant_id","external_id");--> statement-breakpoint
CREATE UNIQUE INDEX "users_by_email" ON "users" USING btree ("tenant_id",lower("email"));--> statement-breakpoint
CREATE INDEX "users_by_type" ON "users" USING btree ("tenant_id","type","id");--> statement-breakpoint
CREATE INDEX "users_active" ON "users" USING btree ("tenant_id","id") WHERE "users"."deactivated_at" is null;--> statement-breakpoint
CREATE INDEX "users_by_last_seen" ON "users" USING btree ("tenant_id","last_seen_at");--> statement-breakpoint
CREATE INDEX "webhook_attempts_by_delivery" ON "webhook_attempts" USING btree ("tenant_id","delivery_id","created_at");--> statement-breakpoint
CREATE INDEX "webhook_attempts_by_webhook" ON "webhook_attempts" USING btree ("tenant_id","webhook_id","created_at","id");--> statement-breakpoint
CREATE UNIQUE INDEX "webhook_deliveries_by_event" ON "webhook_deliveries" USING btree ("tenant_id","event_id","webhook_id");--> statement-breakpoint
CREATE INDEX "webhook_deliveries_by_webhook" ON "webhook_deliveries" USING btree ("tenant_id","webhook_id","created_at","id");--> statement-breakpoint
CREATE INDEX "webhook_deliveries_by_status" ON "webhook_deliveries" USING btree ("tenant_id","webhook_id","status","created_at");--> statement-breakpoint
CREATE INDEX "webhook_deliveries_due" ON "webhook_deliveries" USING btree ("next_attempt_at") WHERE "webhook_deliveries"."status" = 'pending';--> statement-breakpoint
CREATE INDEX "webhook_deliveries_in_order" ON "webhook_deliveries" USING btree ("tenant_id","webhook_id","order_key","order_seq") WHERE "webhook_deliveries"."status" = 'pending' and "webhook_deliveries"."order_key" is not null;--> statement-breakpoint
CREATE INDEX "webhook_health_failing" ON "webhook_health" USING btree ("failing_since") WHERE "webhook_health"."failing_since" is not null;--> statement-breakpoint
CREATE INDEX "webhook_secrets_by_webhook" ON "webhook_secrets" USING btree ("tenant_id","webhook_id","created_at");--> statement-breakpoint
CREATE INDEX "webhook_subscriptions_by_name" ON "webhook_subscriptions" USING btree ("tenant_id","kind","name","webhook_id");--> statement-breakpoint
CREATE INDEX "webhooks_by_kind" ON "webhooks" USING btree ("tenant_id","kind","enabled");--> statement-breakpoint
CREATE UNIQUE INDEX "webhooks_by_action" ON "webhooks" USING btree ("tenant_id","action");