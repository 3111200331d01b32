resource "random_password" "database" {
  length  = 40
  special = false # it is part of an address
}

resource "random_password" "secret_key" {
  length  = 48
  special = false
}

resource "random_password" "api_key" {
  length  = 48
  special = false
}

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.private_subnet_ids
}

resource "aws_security_group" "database" {
  name        = "${var.name}-database"
  description = "PostgreSQL of ${var.name}"
  vpc_id      = var.vpc_id

  ingress {
    description     = "Waybill"
    from_port       = 5432
    to_port         = 5432
    protocol        = "tcp"
    security_groups = [aws_security_group.containers.id]
  }
}

# Accepted means committed, so the standby of another zone is synchronous: multi_az.
resource "aws_db_instance" "this" {
  identifier                   = var.name
  engine                       = "postgres"
  engine_version               = "17"
  instance_class               = var.database_class
  allocated_storage            = var.database_storage
  max_allocated_storage        = var.database_storage * 10
  storage_type                 = "gp3"
  storage_encrypted            = true
  db_name                      = "waybill"
  username                     = "waybill"
  password                     = random_password.database.result
  db_subnet_group_name         = aws_db_subnet_group.this.name
  vpc_security_group_ids       = [aws_security_group.database.id]
  multi_az                     = true
  backup_retention_period      = 14
  performance_insights_enabled = true
  deletion_protection          = true
  final_snapshot_identifier    = "${var.name}-final"
}

# The secrets of the containers. The state of Terraform holds them too: keep it encrypted and to yourself.
resource "aws_secretsmanager_secret" "this" {
  name = var.name
}

resource "aws_secretsmanager_secret_version" "this" {
  secret_id = aws_secretsmanager_secret.this.id
  secret_string = jsonencode({
    DATABASE_URL = "postgres://waybill:${random_password.database.result}@${aws_db_instance.this.endpoint}/waybill?sslmode=require"
    SECRET_KEY   = random_password.secret_key.result
    API_KEY      = "wb_${random_password.api_key.result}"
  })
}
