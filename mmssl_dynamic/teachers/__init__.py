"""Networks that teach: frozen ones, out of timm, an export or any module."""

from mmssl_dynamic.teachers.frozen_teacher import FrozenTeacher

__all__ = ["FrozenTeacher"]
