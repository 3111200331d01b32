data "aws_region" "current" {}

locals {
  environment = [for name, value in merge(var.config, { BASE_URL = var.base_url, TRUSTED_PROXIES = data.aws_vpc.this.cidr_block, LOG_FORMAT = "json" }) :
  { name = name, value = value }]
  secrets = [for name in ["DATABASE_URL", "SECRET_KEY", "API_KEY"] :
  { name = name, valueFrom = "${aws_secretsmanager_secret.this.arn}:${name}::" }]
  roles = {
    web    = { command = "web", count = var.web_count }
    worker = { command = "work", count = var.worker_count }
  }
  container = {
    image                  = var.image
    essential              = true
    environment            = local.environment
    secrets                = local.secrets
    readonlyRootFilesystem = true
    stopTimeout            = 60
  }
}

data "aws_vpc" "this" {
  id = var.vpc_id
}

resource "aws_ecs_cluster" "this" {
  name = var.name
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/waybill/${var.name}"
  retention_in_days = 30
}

resource "aws_security_group" "containers" {
  name        = "${var.name}-containers"
  description = "Web and workers of ${var.name}"
  vpc_id      = var.vpc_id

  ingress {
    description     = "The load balancer"
    from_port       = 3000
    to_port         = 3000
    protocol        = "tcp"
    security_groups = [aws_security_group.balancer.id]
  }
  # Destinations are anywhere. Waybill refuses private addresses unless EGRESS_ALLOW says otherwise.
  egress {
    from_port   = 0
    to_port     = 0
    protocol    = "-1"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "secrets" {
  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [aws_secretsmanager_secret.this.arn]
  }
}

# The role of ECS, which starts the containers. They have none of their own.
resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role_policy" "secrets" {
  name   = "secrets"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.secrets.json
}

# Each task migrates before its program starts; several at once wait for each other.
resource "aws_ecs_task_definition" "this" {
  for_each                 = local.roles
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.execution.arn
  container_definitions = jsonencode([for name, command in { migrate = "migrate", (each.key) = each.value.command } :
    merge(local.container, {
      name         = name
      command      = [command]
      essential    = command != "migrate"
      portMappings = command == "web" ? [{ containerPort = 3000 }] : []
      dependsOn    = command == "migrate" ? [] : [{ containerName = "migrate", condition = "SUCCESS" }]
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.this.name
          awslogs-region        = data.aws_region.current.name
          awslogs-stream-prefix = name
        }
      }
    })
  ])
  depends_on = [aws_secretsmanager_secret_version.this]
}

resource "aws_ecs_service" "this" {
  for_each                           = local.roles
  name                               = each.key
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this[each.key].arn
  desired_count                      = each.value.count
  launch_type                        = "FARGATE"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = each.key == "web" ? 120 : null

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets         = var.private_subnet_ids
    security_groups = [aws_security_group.containers.id]
  }
  dynamic "load_balancer" {
    for_each = each.key == "web" ? [1] : []
    content {
      target_group_arn = aws_lb_target_group.web.arn
      container_name   = "web"
      container_port   = 3000
    }
  }
  depends_on = [aws_lb_listener.https, aws_iam_role_policy.secrets]
}
