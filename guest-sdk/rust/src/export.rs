//! The macro that makes a component of functions.

/// Makes a component of functions: each has a name, for the job file, and a kind.
///
/// | kind | trait |
/// |---|---|
/// | `map` | [`MapFunction`](crate::MapFunction) |
/// | `filter` | [`FilterFunction`](crate::FilterFunction) |
/// | `flat_map` | [`FlatMapFunction`](crate::FlatMapFunction) |
/// | `key_selector` | [`KeySelector`](crate::KeySelector) |
/// | `reduce` | [`ReduceFunction`](crate::ReduceFunction) |
/// | `aggregate` | [`AggregateFunction`](crate::AggregateFunction) |
/// | `process` | [`KeyedProcessFunction`](crate::KeyedProcessFunction) |
/// | `window` | [`ProcessWindowFunction`](crate::ProcessWindowFunction) |
/// | `apply` | [`WindowFunction`](crate::window::WindowFunction) |
/// | `trigger` | [`Trigger`](crate::window::Trigger) |
/// | `evictor` | [`Evictor`](crate::window::Evictor) |
/// | `window_assigner` | [`WindowAssigner`](crate::window::WindowAssigner) |
/// | `asynchronous` | [`AsyncFunction`](crate::AsyncFunction) |
/// | `co_map` | [`CoMapFunction`](crate::CoMapFunction) |
/// | `co_flat_map` | [`CoFlatMapFunction`](crate::CoFlatMapFunction) |
/// | `co_process` | [`CoProcessFunction`](crate::CoProcessFunction) |
/// | `broadcast_process` | [`BroadcastProcessFunction`](crate::BroadcastProcessFunction) |
/// | `keyed_broadcast_process` | [`KeyedBroadcastProcessFunction`](crate::KeyedBroadcastProcessFunction) |
/// | `timestamp_assigner` | [`TimestampAssigner`](crate::TimestampAssigner) |
/// | `watermark_generator` | [`WatermarkGenerator`](crate::WatermarkGenerator) |
/// | `partitioner` | [`Partitioner`](crate::Partitioner) |
/// | `keyed_co_process` | [`KeyedCoProcessFunction`](crate::KeyedCoProcessFunction) |
/// | `process_join` | [`ProcessJoinFunction`](crate::ProcessJoinFunction) |
/// | `join` | [`JoinFunction`](crate::window::JoinFunction) |
/// | `co_group` | [`CoGroupFunction`](crate::window::CoGroupFunction) |
///
/// On a native target it makes `fn functions()` alone, for tests by [`testing`](crate::testing).
#[macro_export]
macro_rules! export {
    ($($name:literal => $kind:ident $function:ty),+ $(,)?) => {
        /// The functions of this component.
        #[doc(hidden)]
        pub fn functions() -> &'static [$crate::Registration] {
            const FUNCTIONS: &[$crate::Registration] =
                &[$($crate::Registration::$kind::<$function>($name)),+];
            FUNCTIONS
        }

        $crate::__exports!();
    };
}

/// The exports of the worlds `frame` and `migrating`.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[macro_export]
macro_rules! __exports {
    () => {
        // SAFETY of all of these: the canonical ABI names the exports and their arguments.
        #[allow(unsafe_code, clippy::too_many_arguments)]
        const _: () = {
            use $crate::abi;

            #[unsafe(export_name = "wasmill:function/frame-function@1.0.0#describe")]
            extern "C" fn describe() -> *const u8 {
                abi::describe(functions())
            }
            #[unsafe(export_name = "wasmill:function/frame-function@1.0.0#open")]
            unsafe extern "C" fn open(start: *mut u8, length: usize) -> *const abi::Returned {
                unsafe { abi::open(functions(), start, length) }
            }
            #[unsafe(export_name = "wasmill:function/frame-function@1.0.0#call")]
            unsafe extern "C" fn call(start: *mut u8, length: usize) -> *const abi::Returned {
                unsafe { abi::call(start, length) }
            }
            #[unsafe(export_name = "wasmill:function/frame-function@1.0.0#snapshot")]
            extern "C" fn snapshot() -> *const abi::Returned {
                abi::snapshot()
            }
            #[unsafe(export_name = "wasmill:function/frame-function@1.0.0#restore")]
            unsafe extern "C" fn restore(start: *mut u8, length: usize) -> *const abi::Returned {
                unsafe { abi::restore(start, length) }
            }
            #[unsafe(export_name = "wasmill:function/frame-function@1.0.0#close")]
            extern "C" fn close() -> *const abi::Returned {
                abi::close()
            }
            #[unsafe(export_name = "wasmill:function/migration@1.0.0#migrate")]
            unsafe extern "C" fn migrate(
                function: *mut u8,
                function_length: usize,
                state: *mut u8,
                state_length: usize,
                from_version: u32,
                _to_version: u32,
                entries: *mut abi::Entry,
                length: usize,
            ) -> *const abi::Returned {
                let names = ((function, function_length), (state, state_length));
                unsafe { abi::migrate(functions(), names, from_version, (entries, length)) }
            }
            #[unsafe(export_name = "cabi_realloc")]
            unsafe extern "C" fn cabi_realloc(
                old: *mut u8,
                old_size: usize,
                align: usize,
                new_size: usize,
            ) -> *mut u8 {
                unsafe { abi::realloc(old, old_size, align, new_size) }
            }
            #[unsafe(link_section = "component-type:wasmill-sdk:wasmill:function@1.0.0:frame")]
            #[used]
            static COMPONENT_TYPE: [u8; abi::COMPONENT_TYPE.len()] = abi::COMPONENT_TYPE;
            #[unsafe(link_section = "component-type:wasmill-sdk:wasmill:function@1.0.0:migrating")]
            #[used]
            static MIGRATING_TYPE: [u8; abi::MIGRATING_TYPE.len()] = abi::MIGRATING_TYPE;
        };
    };
}

/// Nothing: a native target has no host.
#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __exports {
    () => {};
}
