"""Settings: who wins, and what a wrong one is told."""

import copy
import dataclasses

import ninesight
import pytest
from ninesight.config import DURATION_BOUNDS, SdkConfig, config_from, otlp_url, usable_config
from ninesight.testing import histogram, isolated, number

SPECIAL = {
    "NINESIGHT_SERVICE_NAME": "ours",
    "NINESIGHT_INSTANCE": "i-1",
    "NINESIGHT_OTLP_ENDPOINT": "http://ours:1",
    "NINESIGHT_OTLP_HEADERS": "authorization=Bearer%20a,x=1",
    "NINESIGHT_EXPORT_INTERVAL_S": "2.5",
    "NINESIGHT_BUCKETS": "0.1, 0.2",
    "NINESIGHT_ENABLED": "off",
    "NINESIGHT_BUFFER_RECORDS_MAX": "2048",
    "NINESIGHT_HISTOGRAM_BUCKETS_MAX": "200",
    "NINESIGHT_MODELS_MAX": "5",
    "NINESIGHT_STAGES_MAX": "3",
    "NINESIGHT_LABEL_VALUES_MAX": "7",
    "NINESIGHT_LABEL_SETS_MAX": "9",
    "NINESIGHT_MULTIPROCESS_DIR": "/tmp/x",
    "NINESIGHT_OTLP_PROTOCOL": "http/protobuf",
    "NINESIGHT_OTLP_TEMPORALITY": "delta",
    "NINESIGHT_OTLP_TRACES_ENDPOINT": "http://ours:2",
    "NINESIGHT_TRACES": "yes",
    "NINESIGHT_TRACE_SHARE": "0.5",
    "NINESIGHT_TRACE_WINDOW_S": "3",
    "NINESIGHT_TRACES_WAITING_MAX": "77",
}
STANDARD = {
    "OTEL_SERVICE_NAME": "standard",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://standard:4318/",
    "OTEL_EXPORTER_OTLP_HEADERS": "api-key=s",
    "OTEL_METRIC_EXPORT_INTERVAL": "1500",
    "OTEL_RESOURCE_ATTRIBUTES": "service.name=attribute,service.instance.id=pod-7,deployment.environment=prod",
    "OTEL_SDK_DISABLED": "TRUE",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "lowmemory",
    "OTEL_TRACES_EXPORTER": "otlp",
}


def test_defaults_need_nothing():
    """No push, all on, an instance that tells workers apart."""
    config = config_from({})
    assert config == SdkConfig()
    assert (config.otlp_endpoint, config.enabled, config.buckets) == (None, True, DURATION_BOUNDS)
    assert config.resource["service.name"] == "unknown_service"
    assert ":" in config.resource["service.instance.id"]


def test_every_setting_has_a_variable():
    """`NINESIGHT_` and the key in capitals; resource attributes have OpenTelemetry's, classes have none."""
    keys = {f"NINESIGHT_{item.name.upper()}" for item in dataclasses.fields(SdkConfig)}
    assert keys - {"NINESIGHT_RESOURCE_ATTRIBUTES", "NINESIGHT_OUTCOMES"} == set(SPECIAL)
    config = config_from(SPECIAL)
    assert config == SdkConfig(
        service_name="ours", instance="i-1", otlp_endpoint="http://ours:1", otlp_protocol="http/protobuf",
        otlp_temporality="delta", otlp_traces_endpoint="http://ours:2", export_interval_s=2.5,
        otlp_headers={"authorization": "Bearer a", "x": "1"}, buckets=(0.1, 0.2), enabled=False,
        buffer_records_max=2048, histogram_buckets_max=200, models_max=5, stages_max=3, label_values_max=7,
        label_sets_max=9, multiprocess_dir="/tmp/x", traces=True, trace_share=0.5, trace_window_s=3.0,
        traces_waiting_max=77,
    )  # fmt: skip


def test_the_standard_variables_are_read():
    """OpenTelemetry's names, with their own units."""
    config = config_from(STANDARD)
    assert (config.service_name, config.instance, config.enabled) == ("standard", "pod-7", False)
    assert (config.otlp_headers, config.export_interval_s) == ({"api-key": "s"}, 1.5)
    assert otlp_url(config.otlp_endpoint, "metrics") == "http://standard:4318/v1/metrics"
    assert config.resource["deployment.environment"] == "prod"
    assert (config.otlp_temporality, config.traces) == ("delta", True)
    protocol = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert config_from(protocol).otlp_protocol == "grpc"
    only_metrics = {**protocol, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf"}
    assert config_from(only_metrics).otlp_protocol == "http/protobuf"
    special = config_from({**STANDARD, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:1/v1/metrics"})
    assert otlp_url(special.otlp_endpoint, "metrics") == "http://m:1/v1/metrics"
    only_attribute = {"OTEL_RESOURCE_ATTRIBUTES": STANDARD["OTEL_RESOURCE_ATTRIBUTES"]}
    assert config_from(only_attribute).service_name == "attribute"


ALL = "http://all:4318"
FOR_ALL = {"OTEL_EXPORTER_OTLP_ENDPOINT": ALL}
PATH = "http://one:1/otlp/in"


@pytest.mark.parametrize(
    ("environment", "metrics", "traces"),
    [
        (FOR_ALL, f"{ALL}/v1/metrics", None),
        ({**FOR_ALL, "OTEL_TRACES_EXPORTER": "OTLP"}, f"{ALL}/v1/metrics", f"{ALL}/v1/traces"),
        ({**FOR_ALL, "OTEL_TRACES_EXPORTER": "console, otlp"}, f"{ALL}/v1/metrics", f"{ALL}/v1/traces"),
        ({**FOR_ALL, "OTEL_METRICS_EXPORTER": "none"}, None, None),
        ({**FOR_ALL, "OTEL_METRICS_EXPORTER": "prometheus"}, None, None),
        (
            {**FOR_ALL, "OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "otlp"},
            None,
            f"{ALL}/v1/traces",
        ),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": PATH}, PATH, None),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://one:1"}, "http://one:1/v1/metrics", None),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://one:1/"}, "http://one:1/v1/metrics", None),
        (
            {**FOR_ALL, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": PATH, "OTEL_TRACES_EXPORTER": "otlp"},
            PATH,
            f"{ALL}/v1/traces",
        ),
        (
            {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": PATH, "OTEL_TRACES_EXPORTER": "otlp"},
            PATH,
            f"{PATH}/v1/traces",
        ),
        ({**FOR_ALL, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": PATH}, f"{ALL}/v1/metrics", PATH),
        (
            {**FOR_ALL, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": PATH, "OTEL_TRACES_EXPORTER": "none"},
            f"{ALL}/v1/metrics",
            None,
        ),
    ],
)
def test_each_signal_goes_where_the_standard_variables_send_it(environment, metrics, traces):
    """A path named for one signal is taken as it is; `none` is none; what is for metrics alone is not for traces."""
    config = config_from(environment)
    for found in (config, copy.deepcopy(config), dataclasses.replace(config, instance="i")):
        endpoint = found.otlp_endpoint
        assert (endpoint and otlp_url(endpoint, "metrics")) == metrics
        assert (
            otlp_url(found.otlp_traces_endpoint or endpoint, "traces") if found.traces else None
        ) == traces
    assert (
        config_from({**environment, "NINESIGHT_OTLP_ENDPOINT": "http://ours"}).otlp_endpoint == "http://ours"
    )


def test_words_of_the_standard_variables_have_no_case():
    """As OpenTelemetry has it."""
    config = config_from(
        {
            "OTEL_EXPORTER_OTLP_PROTOCOL": " GRPC",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "LowMemory",
        }
    )
    assert (config.otlp_protocol, config.otlp_temporality) == ("grpc", "delta")


def test_what_is_wrong_in_the_environment_is_passed_over_and_the_rest_holds():
    """A process that reads it amid a request goes on with what is right; each wrong variable is told."""
    environment = {
        **FOR_ALL,
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
        "OTEL_METRIC_EXPORT_INTERVAL": "5s",
        "NINESIGHT_MODELS_MAX": "7",
        "NINESIGHT_TRACE_SHARE": "3",
        "PATH": "/bin",
    }
    config, wrong = usable_config(environment)
    assert config == SdkConfig(service_name="shop", otlp_endpoint=ALL, models_max=7)
    told = [str(error) for error in wrong]
    assert [
        word for word in ("trace_share", "http/json", "5s") if not any(word in each for each in told)
    ] == []
    assert len(told) == 3
    assert usable_config({}) == (SdkConfig(), [])


@pytest.mark.parametrize(
    ("endpoint", "signal", "protocol", "url"),
    [
        ("http://h:1", "metrics", "http/protobuf", "http://h:1/v1/metrics"),
        ("http://h:1/otlp/", "traces", "http/protobuf", "http://h:1/otlp/v1/traces"),
        ("http://h:1/v1/metrics", "traces", "http/protobuf", "http://h:1/v1/traces"),
        ("http://h:1/api?key=x", "metrics", "http/protobuf", "http://h:1/api?key=x"),
        ("http://h:4317", "traces", "grpc", "http://h:4317"),
    ],
)
def test_a_signal_has_its_own_path(endpoint, signal, protocol, url):
    """Over HTTP; gRPC has none."""
    assert otlp_url(endpoint, signal, protocol) == url


def test_code_wins_over_ninesight_wins_over_otel():
    """And a later `configure` keeps what it does not name."""
    environment = {**STANDARD, **SPECIAL}
    assert config_from(environment).service_name == "ours"
    first = config_from(environment, service_name="code")
    assert (first.service_name, first.instance) == ("code", "i-1")
    assert config_from(environment, first, instance="i-2").service_name == "code"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"export_interval_s": 0.01},
            "export_interval_s must be at least 0.1 s, got 0.01; raise export_interval_s",
        ),
        ({"export_interval_s": "5"}, "export_interval_s must be at least 0.1 s, got '5'"),
        ({"otlp_endpoint": "localhost:4318"}, "otlp_endpoint must be an http:// or https:// URL with a host"),
        ({"otlp_endpoint": "http://h:port"}, "got 'http://h:port'; write e.g. http://127.0.0.1:9901"),
        ({"buckets": [1, 0.5]}, "in ascending order, got (1.0, 0.5); sort them, and leave +Inf out"),
        ({"buckets": [1, float("inf")]}, "buckets must be at most 200 finite numbers above 0"),
        ({"buckets": "fast"}, "buckets must be numbers, got 'fast'"),
        (
            {"histogram_buckets_max": 10},
            "histogram_buckets_max must be a whole number of at least 160, got 10",
        ),
        (
            {"buffer_records_max": True},
            "buffer_records_max must be a whole number of at least 1024, got True",
        ),
        (
            {"outcomes": {ValueError: "great"}},
            "outcomes must map exception classes to one of ok, error, timeout, shed, cancelled, got",
        ),
        ({"outcomes": {"ValueError": "shed"}}, "write e.g. {QueueFull: 'shed'}"),
        ({"otlp_protocol": "http/json"}, "otlp_protocol must be one of http/protobuf, grpc, got 'http/json'"),
        ({"otlp_temporality": "low"}, "otlp_temporality must be one of cumulative, delta, got 'low'"),
        ({"trace_share": 2}, "trace_share must be at most 1, got 2; write 0.01 for 1 %"),
        ({"trace_share": -1}, "trace_share must be at least 0"),
        ({"trace_window_s": 0}, "trace_window_s must be at least 0.1 s, got 0"),
        ({"service_name": ""}, "service_name must not be empty, got ''; leave it out for the default"),
        ({"sevice_name": "x"}, "got sevice_name; check the spelling"),
    ],
)
def test_a_wrong_setting_is_told_in_plain_words_and_changes_nothing(sdk, given, message):
    """What must hold, what was given, the way out."""
    with pytest.raises(ninesight.ConfigError) as caught:
        ninesight.configure(**given)
    assert message in str(caught.value)
    ninesight.configure(instance="goes-on")
    assert sdk().resource["service.instance.id"] == "goes-on"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("NINESIGHT_ENABLED", "maybe", "NINESIGHT_ENABLED must be true or false, got 'maybe'"),
        ("NINESIGHT_MODELS_MAX", "ten", "NINESIGHT_MODELS_MAX must be a whole number, got 'ten'"),
        ("NINESIGHT_BUCKETS", "1,x", "NINESIGHT_BUCKETS must be a number, got 'x'"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "5s", "OTEL_METRIC_EXPORT_INTERVAL must be a number, got '5s'"),
        ("NINESIGHT_OTLP_HEADERS", "Bearer secret", "NINESIGHT_OTLP_HEADERS must be key=value pairs"),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(name, text, message):
    """And a header's value, which may be a secret, is not shown."""
    with pytest.raises(ninesight.ConfigError) as caught:
        config_from({name: text})
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_buckets_may_be_set_after_decorating_but_not_after_recording():
    """Counts of other bounds cannot be made up afterwards."""
    with isolated() as snapshot:

        @ninesight.observe(model="bounded")
        def run():
            return 1

        ninesight.configure(buckets=[0.5, 5])
        run()
        value = histogram(snapshot(), "model_request_duration_seconds", model="bounded", version="1")
        assert (value.bounds, value.cumulative) == ((0.5, 5.0), (1, 1, 1))
        ninesight.configure(buckets=[0.5, 5], service_name="same-bounds")
        with pytest.raises(ninesight.ConfigError, match="buckets must be set before the first recorded call"):
            ninesight.configure(buckets=[0.25])


def test_a_bucket_budget_set_later_holds_for_what_was_decorated_before():
    """More buckets keep the error at 1.1 % over a wide distribution; the stats say what each series has."""
    with isolated(histogram_buckets_max=160):
        for name, budget in (("narrow", 160), ("wide", 1024)):
            call = ninesight.call(name)
            ninesight.configure(histogram_buckets_max=budget)
            with call:
                for step in range(1000):
                    call.add_stage("queue", 0.001 * 1.007**step)
        ninesight.flush()
        errors = ninesight.stats().relative_error
        stage = 'model_stage_duration_seconds{{model="{}",version="1",stage="queue"}}'
        assert errors[stage.format("narrow")] > 0.02
        assert errors[stage.format("wide")] <= 0.011


def test_model_versions_have_a_budget():
    """A model name taken from requests cannot fill the memory: `__other__`, and counted."""
    with isolated():
        runtime = ninesight.runtime.Runtime()
        runtime.configure(models_max=3)
        try:
            names = {runtime.series(f"m{step}", "1").model for step in range(10)}
            assert names == {"m0", "m1", "m2", "__other__"}
            assert runtime.stats().over_budget == 7
            assert runtime.series("m1", "1").model == "m1"
            assert number(runtime.snapshot(), "ninesight_sdk_over_budget_total") == 7
        finally:
            runtime.shutdown()
