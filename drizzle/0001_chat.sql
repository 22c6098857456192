CREATE TABLE "live_sockets" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"place" text NOT NULL,
	"place_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"device_id" text,
	"key_id" uuid,
	"jti" text,
	"until" timestamptz NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "live_sockets_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "live_sockets_place" CHECK ("live_sockets"."place" in ('channel', 'user'))
);
--> statement-breakpoint
CREATE TABLE "socket_tickets" (
	"tenant_id" uuid NOT NULL,
	"hash" "bytea" NOT NULL,
	"user_id" uuid NOT NULL,
	"device_id" text,
	"credential" jsonb NOT NULL,
	"expires_at" timestamptz NOT NULL,
	CONSTRAINT "socket_tickets_tenant_id_hash_pk" PRIMARY KEY("tenant_id","hash")
);
--> statement-breakpoint
CREATE TABLE "channel_members" (
	"tenant_id" uuid NOT NULL,
	"channel_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"role" text DEFAULT 'member' NOT NULL,
	"muted" boolean DEFAULT false NOT NULL,
	"pinned_at" timestamptz,
	"archived_at" timestamptz,
	"hidden_ordinal" bigint,
	"history_seq" bigint DEFAULT 0 NOT NULL,
	"read_seq" bigint DEFAULT 0 NOT NULL,
	"read_ordinal" bigint DEFAULT 0 NOT NULL,
	"read_at" timestamptz,
	"joined_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "channel_members_tenant_id_channel_id_user_id_pk" PRIMARY KEY("tenant_id","channel_id","user_id"),
	CONSTRAINT "channel_members_role" CHECK ("channel_members"."role" in ('owner', 'admin', 'moderator', 'member'))
);
--> statement-breakpoint
CREATE TABLE "channel_types" (
	"tenant_id" uuid NOT NULL,
	"name" text NOT NULL,
	"settings" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"permissions" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "channel_types_tenant_id_name_pk" PRIMARY KEY("tenant_id","name")
);
--> statement-breakpoint
CREATE TABLE "invitations" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"channel_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"invited_by" uuid,
	"role" text DEFAULT 'member' NOT NULL,
	"status" text DEFAULT 'pending' NOT NULL,
	"answered_at" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "invitations_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "invitations_role" CHECK ("invitations"."role" in ('owner', 'admin', 'moderator', 'member')),
	CONSTRAINT "invitations_status" CHECK ("invitations"."status" in ('pending', 'accepted', 'rejected'))
);
--> statement-breakpoint
CREATE TABLE "member_reads" (
	"tenant_id" uuid NOT NULL,
	"channel_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"seq" bigint NOT NULL,
	"read_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "member_reads_tenant_id_channel_id_user_id_seq_pk" PRIMARY KEY("tenant_id","channel_id","user_id","seq")
);
--> statement-breakpoint
CREATE TABLE "message_attachments" (
	"tenant_id" uuid NOT NULL,
	"message_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"position" integer NOT NULL,
	"type" text NOT NULL,
	"file_id" uuid,
	"url" text,
	"thumbnail_url" text,
	"file_name" text,
	"file_size" bigint,
	"mime_type" text,
	"width" integer,
	"height" integer,
	"duration" double precision,
	"latitude" double precision,
	"longitude" double precision,
	"metadata" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "message_attachments_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "message_attachments_type" CHECK ("message_attachments"."type" in ('image', 'video', 'audio', 'file', 'location'))
);
--> statement-breakpoint
CREATE TABLE "message_edits" (
	"tenant_id" uuid NOT NULL,
	"message_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"text" text NOT NULL,
	"metadata" jsonb NOT NULL,
	"edited_by" uuid,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "message_edits_tenant_id_id_pk" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
CREATE TABLE "message_mentions" (
	"tenant_id" uuid NOT NULL,
	"message_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"channel_id" uuid NOT NULL,
	"ordinal" bigint,
	CONSTRAINT "message_mentions_tenant_id_message_id_user_id_pk" PRIMARY KEY("tenant_id","message_id","user_id")
);
--> statement-breakpoint
CREATE TABLE "message_reactions" (
	"tenant_id" uuid NOT NULL,
	"message_id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"emoji" text NOT NULL,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "message_reactions_tenant_id_message_id_user_id_emoji_pk" PRIMARY KEY("tenant_id","message_id","user_id","emoji")
);
--> statement-breakpoint
CREATE TABLE "messages" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"channel_id" uuid NOT NULL,
	"seq" bigint,
	"ordinal" bigint,
	"user_id" uuid,
	"client_id" text,
	"parent_id" uuid,
	"show_in_channel" boolean DEFAULT true NOT NULL,
	"quoted_id" uuid,
	"text" text NOT NULL,
	"kind" text DEFAULT 'text' NOT NULL,
	"state" text DEFAULT 'visible' NOT NULL,
	"silent" boolean DEFAULT false NOT NULL,
	"shadowed" boolean DEFAULT false NOT NULL,
	"metadata" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"pinned_at" timestamptz,
	"pinned_by" uuid,
	"scheduled_for" timestamptz,
	"expires_at" timestamptz,
	"edited_at" timestamptz,
	"deleted_at" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	"updated_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "messages_tenant_id_id_pk" PRIMARY KEY("tenant_id","id"),
	CONSTRAINT "messages_kind" CHECK ("messages"."kind" in ('text', 'system')),
	CONSTRAINT "messages_state" CHECK ("messages"."state" in ('visible', 'pending', 'rejected', 'scheduled'))
);
--> statement-breakpoint
CREATE TABLE "bans" (
	"tenant_id" uuid NOT NULL,
	"id" uuid NOT NULL,
	"user_id" uuid NOT NULL,
	"channel_id" uuid,
	"shadow" boolean DEFAULT false NOT NULL,
	"reason" text,
	"banned_by" uuid,
	"expires_at" timestamptz,
	"created_at" timestamptz DEFAULT now() NOT NULL,
	CONSTRAINT "bans_tenant_id_id_pk" PRIMARY KEY("tenant_id","id")
);
--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "type" text DEFAULT 'messaging' NOT NULL;--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "description" text;--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "avatar_url" text;--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "team_id" uuid;--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "distinct_key" text;--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "frozen" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "slow_mode" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "cooldown" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "language" text DEFAULT 'simple' NOT NULL;--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "settings" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "created_by" uuid;--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "truncated_at" timestamptz;--> statement-breakpoint
ALTER TABLE "channels" ADD COLUMN "truncated_seq" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "streams" ADD COLUMN "last_ordinal" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "streams" ADD COLUMN "last_message_at" timestamptz;--> statement-breakpoint
ALTER TABLE "live_sockets" ADD CONSTRAINT "live_sockets_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "socket_tickets" ADD CONSTRAINT "socket_tickets_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "channel_members" ADD CONSTRAINT "channel_members_channel_id_fk" FOREIGN KEY ("tenant_id","channel_id") REFERENCES "public"."channels"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "channel_members" ADD CONSTRAINT "channel_members_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "channel_types" ADD CONSTRAINT "channel_types_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "invitations" ADD CONSTRAINT "invitations_channel_id_fk" FOREIGN KEY ("tenant_id","channel_id") REFERENCES "public"."channels"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "invitations" ADD CONSTRAINT "invitations_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "invitations" ADD CONSTRAINT "invitations_invited_by_fk" FOREIGN KEY ("tenant_id","invited_by") REFERENCES "public"."users"("tenant_id","id") ON DELETE set null ("invited_by") ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "member_reads" ADD CONSTRAINT "member_reads_channel_id_fk" FOREIGN KEY ("tenant_id","channel_id") REFERENCES "public"."channels"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "member_reads" ADD CONSTRAINT "member_reads_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_attachments" ADD CONSTRAINT "message_attachments_message_id_fk" FOREIGN KEY ("tenant_id","message_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_attachments" ADD CONSTRAINT "message_attachments_file_id_fk" FOREIGN KEY ("tenant_id","file_id") REFERENCES "public"."files"("tenant_id","id") ON DELETE set null ("file_id") ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_edits" ADD CONSTRAINT "message_edits_message_id_fk" FOREIGN KEY ("tenant_id","message_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_edits" ADD CONSTRAINT "message_edits_edited_by_fk" FOREIGN KEY ("tenant_id","edited_by") REFERENCES "public"."users"("tenant_id","id") ON DELETE set null ("edited_by") ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_mentions" ADD CONSTRAINT "message_mentions_message_id_fk" FOREIGN KEY ("tenant_id","message_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_mentions" ADD CONSTRAINT "message_mentions_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_mentions" ADD CONSTRAINT "message_mentions_channel_id_fk" FOREIGN KEY ("tenant_id","channel_id") REFERENCES "public"."channels"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_reactions" ADD CONSTRAINT "message_reactions_message_id_fk" FOREIGN KEY ("tenant_id","message_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "message_reactions" ADD CONSTRAINT "message_reactions_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "messages" ADD CONSTRAINT "messages_channel_id_fk" FOREIGN KEY ("tenant_id","channel_id") REFERENCES "public"."channels"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "messages" ADD CONSTRAINT "messages_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "messages" ADD CONSTRAINT "messages_parent_id_fk" FOREIGN KEY ("tenant_id","parent_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "messages" ADD CONSTRAINT "messages_quoted_id_fk" FOREIGN KEY ("tenant_id","quoted_id") REFERENCES "public"."messages"("tenant_id","id") ON DELETE set null ("quoted_id") ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "messages" ADD CONSTRAINT "messages_pinned_by_fk" FOREIGN KEY ("tenant_id","pinned_by") REFERENCES "public"."users"("tenant_id","id") ON DELETE set null ("pinned_by") ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "bans" ADD CONSTRAINT "bans_user_id_fk" FOREIGN KEY ("tenant_id","user_id") REFERENCES "public"."users"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "bans" ADD CONSTRAINT "bans_channel_id_fk" FOREIGN KEY ("tenant_id","channel_id") REFERENCES "public"."channels"("tenant_id","id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "bans" ADD CONSTRAINT "bans_banned_by_fk" FOREIGN KEY ("tenant_id","banned_by") REFERENCES "public"."users"("tenant_id","id") ON DELETE set null ("banned_by") ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "live_sockets_by_place" ON "live_sockets" USING btree ("tenant_id","place_id");--> statement-breakpoint
CREATE INDEX "live_sockets_by_user" ON "live_sockets" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "live_sockets_by_end" ON "live_sockets" USING btree ("until");--> statement-breakpoint
CREATE INDEX "socket_tickets_by_user" ON "socket_tickets" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "socket_tickets_by_expiry" ON "socket_tickets" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "channel_members_by_user" ON "channel_members" USING btree ("tenant_id","user_id","channel_id");--> statement-breakpoint
CREATE UNIQUE INDEX "invitations_by_pending" ON "invitations" USING btree ("tenant_id","channel_id","user_id") WHERE "invitations"."status" = 'pending';--> statement-breakpoint
CREATE INDEX "invitations_by_channel" ON "invitations" USING btree ("tenant_id","channel_id");--> statement-breakpoint
CREATE INDEX "invitations_by_user" ON "invitations" USING btree ("tenant_id","user_id","status");--> statement-breakpoint
CREATE INDEX "invitations_by_inviter" ON "invitations" USING btree ("tenant_id","invited_by");--> statement-breakpoint
CREATE INDEX "member_reads_by_user" ON "member_reads" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "member_reads_by_seq" ON "member_reads" USING btree ("tenant_id","channel_id","seq");--> statement-breakpoint
CREATE INDEX "message_attachments_by_message" ON "message_attachments" USING btree ("tenant_id","message_id","position");--> statement-breakpoint
CREATE INDEX "message_attachments_by_type" ON "message_attachments" USING btree ("tenant_id","type","file_size");--> statement-breakpoint
CREATE INDEX "message_attachments_by_file" ON "message_attachments" USING btree ("tenant_id","file_id");--> statement-breakpoint
CREATE INDEX "message_edits_by_message" ON "message_edits" USING btree ("tenant_id","message_id","created_at");--> statement-breakpoint
CREATE INDEX "message_edits_by_editor" ON "message_edits" USING btree ("tenant_id","edited_by");--> statement-breakpoint
CREATE INDEX "message_mentions_by_user" ON "message_mentions" USING btree ("tenant_id","user_id","channel_id","ordinal");--> statement-breakpoint
CREATE INDEX "message_mentions_by_channel" ON "message_mentions" USING btree ("tenant_id","channel_id");--> statement-breakpoint
CREATE INDEX "message_reactions_by_message" ON "message_reactions" USING btree ("tenant_id","message_id","created_at");--> statement-breakpoint
CREATE INDEX "message_reactions_by_user" ON "message_reactions" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE UNIQUE INDEX "messages_by_seq" ON "messages" USING btree ("tenant_id","channel_id","seq");--> statement-breakpoint
CREATE UNIQUE INDEX "messages_by_client_id" ON "messages" USING btree ("tenant_id","channel_id","user_id","client_id");--> statement-breakpoint
CREATE INDEX "messages_by_ordinal" ON "messages" USING btree ("tenant_id","channel_id","ordinal") WHERE "messages"."ordinal" is not null;--> statement-breakpoint
CREATE INDEX "messages_by_time" ON "messages" USING btree ("tenant_id","created_at","id");--> statement-breakpoint
CREATE INDEX "messages_by_user" ON "messages" USING btree ("tenant_id","user_id");--> statement-breakpoint
CREATE INDEX "messages_by_parent" ON "messages" USING btree ("tenant_id","parent_id","seq");--> statement-breakpoint
CREATE INDEX "messages_by_quoted" ON "messages" USING btree ("tenant_id","quoted_id");--> statement-breakpoint
CREATE INDEX "messages_by_pinner" ON "messages" USING btree ("tenant_id","pinned_by");--> statement-breakpoint
CREATE INDEX "messages_pinned" ON "messages" USING btree ("tenant_id","channel_id","pinned_at") WHERE "messages"."pinned_at" is not null;--> statement-breakpoint
CREATE INDEX "messages_by_state" ON "messages" USING btree ("tenant_id","channel_id","state") WHERE "messages"."state" <> 'visible';--> statement-breakpoint
CREATE INDEX "messages_expiring" ON "messages" USING btree ("expires_at") WHERE "messages"."expires_at" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "bans_by_channel" ON "bans" USING btree ("tenant_id","user_id","channel_id") WHERE "bans"."channel_id" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "bans_by_user" ON "bans" USING btree ("tenant_id","user_id") WHERE "bans"."channel_id" is null;--> statement-breakpoint
CREATE INDEX "bans_of_channel" ON "bans" USING btree ("tenant_id","channel_id");--> statement-breakpoint
CREATE INDEX "bans_by_moderator" ON "bans" USING btree ("tenant_id","banned_by");--> statement-breakpoint
CREATE INDEX "bans_of_user" ON "bans" USING btree ("tenant_id","user_id");--> statement-breakpoint
ALTER TABLE "channels" ADD CONSTRAINT "channels_team_id_fk" FOREIGN KEY ("tenant_id","team_id") REFERENCES "public"."teams"("tenant_id","id") ON DELETE restrict ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "channels" ADD CONSTRAINT "channels_created_by_fk" FOREIGN KEY ("tenant_id","created_by") REFERENCES "public"."users"("tenant_id","id") ON DELETE set null ("created_by") ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "channels_by_type" ON "channels" USING btree ("tenant_id","type","id");--> statement-breakpoint
CREATE INDEX "channels_by_team" ON "channels" USING btree ("tenant_id","team_id");--> statement-breakpoint
CREATE INDEX "channels_by_creator" ON "channels" USING btree ("tenant_id","created_by");--> statement-breakpoint
CREATE INDEX "channels_frozen" ON "channels" USING btree ("tenant_id","id") WHERE "channels"."frozen";--> statement-breakpoint
CREATE UNIQUE INDEX "channels_by_distinct_key" ON "channels" USING btree ("tenant_id","distinct_key");--> statement-breakpoint
CREATE INDEX "streams_by_last_message" ON "streams" USING btree ("tenant_id","last_message_at") WHERE "streams"."last_message_at" is not null;