"""The functions of ``apis`` with every option under its own name, for tables of tests that change one at a time."""

from dataclasses import fields, replace

from mmssl_dynamic import apis
from mmssl_dynamic.apis.evaluate import Comparison
from mmssl_dynamic.apis.transfer import KeptFeatures
from mmssl_dynamic.calibration import CalibrationPlan
from mmssl_dynamic.downstream.transfer_sets import read_all
from mmssl_dynamic.evaluation import KNNProtocol
from mmssl_dynamic.evaluation.many_shot import ManyShotProtocol
from mmssl_dynamic.evaluation.network_evaluation import Timing
from mmssl_dynamic.evaluation.transfer_run import transfer_pipeline
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features.networks import Networks
from mmssl_dynamic.loading import load_config
from mmssl_dynamic.routing import RoutingResult
from mmssl_dynamic.routing.method import RoutingMethod, RoutingOutput


def taken(kind, options, **names):
    """A value of a class made of the options that it has; other names of options by its own."""
    found = {field.name: options.pop(names.get(field.name, field.name), ...) for field in fields(kind)}
    return kind(**{name: value for name, value in found.items() if value is not ...})


def execution_of(options):
    return taken(Execution, options, workers="num_workers")


def networks_of(options):
    return taken(Networks, options, names="subnets")


def evaluate(config, checkpoint, out, *, data_root=None, dataset_config=None, protocol=None, **options):
    config = load_config(config, options.pop("cfg_options", None))
    protocol = protocol or KNNProtocol()
    changed = {name: options.pop(name) for name in ("image_size", "seed") if name in options}
    timing = taken(Timing, options, batch="latency_batch", repeats="latency_repeats")
    values = {
        "protocol": replace(protocol, **changed),
        "networks": networks_of(options),
        "comparison": Comparison(timing, options.pop("baselines", ())),
        "execution": execution_of(options),
    }
    assert not options
    return apis.evaluate(config, checkpoint, data_root or dataset_config, out, **values)


def route(config, checkpoint, bank, out, *, data_roots=(), dataset_configs=(), **options):
    config = load_config(config, options.pop("cfg_options", None))
    method = options.pop("method", None) or RoutingMethod()
    values = {
        "method": replace(method, protocol=options.pop("protocol", method.protocol)),
        "networks": networks_of(
            {"bank": bank, **{key: options.pop(key) for key in ("subnets", "bn") if key in options}}
        ),
        "output": taken(RoutingOutput, options),
        "execution": execution_of(options),
    }
    assert not options
    return apis.route(config, checkpoint, [*data_roots, *dataset_configs], out, **values)


def transfer(config, checkpoint, out, *, data_root, datasets=None, **options):
    config = load_config(config, options.pop("cfg_options", None))
    protocol = options.pop("protocol", None) or ManyShotProtocol()
    protocol = replace(protocol, image_size=options.pop("image_size", 224))
    tasks = read_all(datasets, data_root, transfer_pipeline(protocol.image_size, load=True))
    values = {
        "protocol": protocol,
        "networks": networks_of(options),
        "features": taken(KeptFeatures, options, folder="features", keep="keep_features"),
        "execution": execution_of(options),
    }
    assert not options
    return apis.transfer(config, checkpoint, tasks, out, **values)


def calibrate(config, checkpoint, out=None, *, clusters=None, **options):
    config = load_config(config, options.pop("cfg_options", None))
    plan, execution = taken(CalibrationPlan, options), execution_of(options)
    assert not options
    return apis.calibrate(config, checkpoint, out, clusters=clusters, plan=plan, execution=execution)


def export(config, checkpoint, out, *, subnet=None, routing=None, bank=None, bn=None, format="mmpretrain", **options):
    config = load_config(config, options.pop("cfg_options", None))
    execution = execution_of(options)
    assert not options
    chosen = RoutingResult.load(routing) if subnet is None else subnet
    how = {"bank": bank, "bn": bn, "format": format, "execution": execution}
    (report,) = apis.export(config, checkpoint, out, chosen, **how)
    return report


def route_detection(config, checkpoint, bank, out, det_config, *, subnets=None, devices=None, **options):
    from mmssl_dynamic.detection.routing import route_detection as route

    config = load_config(config, options.pop("cfg_options", None))
    execution = replace(execution_of(options), device=None if devices is None else ",".join(devices))
    output = taken(RoutingOutput, options)
    networks = Networks(subnets, bank)
    return route(config, checkpoint, det_config, out, networks=networks, output=output, execution=execution, **options)
