ALTER TABLE "emails" ADD COLUMN "left_out" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "domains" ADD COLUMN "auth_servers" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "domains" ADD COLUMN "missing_since" timestamptz;--> statement-breakpoint
UPDATE "message_attachments" "a" SET "channel_id" = "m"."channel_id" FROM "messages" "m" WHERE "m"."tenant_id" = "a"."tenant_id" AND "m"."id" = "a"."message_id" AND "a"."channel_id" <> "m"."channel_id";--> statement-breakpoint
UPDATE "moderation_queue" "q" SET "channel_id" = "m"."channel_id" FROM "messages" "m" WHERE "m"."tenant_id" = "q"."tenant_id" AND "m"."id" = "q"."message_id" AND "q"."channel_id" <> "m"."channel_id";--> statement-breakpoint
UPDATE "channels" SET "trashed_at" = null WHERE "merged_into" IS NOT NULL AND "trashed_at" IS NOT NULL;
